package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/ipfs/boxo/blockservice"
	"github.com/ipfs/boxo/blockstore"
	"github.com/ipfs/boxo/chunker"
	"github.com/ipfs/boxo/exchange/offline"
	"github.com/ipfs/boxo/ipld/merkledag"
	"github.com/ipfs/boxo/ipld/unixfs/importer/balanced"
	"github.com/ipfs/boxo/ipld/unixfs/importer/helpers"
	pinner "github.com/ipfs/boxo/pinning/pinner"
	"github.com/ipfs/boxo/pinning/pinner/dspinner"
	"github.com/ipfs/go-cid"
	"github.com/ipfs/go-datastore"
	filestore "github.com/ipfs/go-datastore/examples"
	datasync "github.com/ipfs/go-datastore/sync"
	ipld "github.com/ipfs/go-ipld-format"
	"github.com/multiformats/go-multihash"
)

// A layout is how content is cut into blocks and linked.
type layout struct {
	name       string
	chunkBytes int64
	maxLinks   int
	rawLeaves  bool
	version    uint64
}

var layouts = []layout{
	{"v1-raw", 256 << 10, 174, true, 1},
	{"v1-raw-large", 1 << 20, 1024, true, 1},
	{"v0", 256 << 10, 174, false, 0},
	{"v1", 256 << 10, 174, false, 1},
}

// A node is what the libraries need around them: blocks and pins in a folder, and nobody else to ask.
type node struct {
	blocks       blockstore.Blockstore
	blockService blockservice.BlockService
	dag          ipld.DAGService
	pins         pinner.Pinner
	collecting   sync.RWMutex
}

func newNode(folder string) (*node, error) {
	var store datastore.Batching = datastore.NewNullDatastore()
	if folder != "" {
		files, err := filestore.NewDatastore(folder)
		if err != nil {
			return nil, err
		}
		store = datasync.MutexWrap(files)
	}
	made := &node{blocks: blockstore.NewBlockstore(store)}
	made.blockService = blockservice.New(made.blocks, offline.Exchange(made.blocks))
	made.dag = merkledag.NewDAGService(made.blockService)
	if folder == "" {
		return made, nil
	}
	// The pins are kept in memory: a store of one file for each key cannot hold the pinner's index.
	pins := datasync.MutexWrap(datastore.NewMapDatastore())
	var err error
	made.pins, err = dspinner.New(context.Background(), pins, made.dag)
	return made, err
}

// add imports content with the importer of the reference node.
func (n *node) add(ctx context.Context, content io.Reader, layout layout) (ipld.Node, error) {
	prefix, err := merkledag.PrefixForCidVersion(int(layout.version))
	if err != nil {
		return nil, err
	}
	prefix.MhType = multihash.SHA2_256
	buffered := ipld.NewBufferedDAG(ctx, n.dag)
	parameters := helpers.DagBuilderParams{
		Maxlinks:   layout.maxLinks,
		RawLeaves:  layout.rawLeaves,
		CidBuilder: prefix,
		Dagserv:    buffered,
	}
	builder, err := parameters.New(chunk.NewSizeSplitter(content, layout.chunkBytes))
	if err != nil {
		return nil, err
	}
	root, err := balanced.Layout(builder)
	if err != nil {
		return nil, err
	}
	return root, buffered.Commit()
}

// collect forgets all blocks below no pin.
func (n *node) collect(ctx context.Context) error {
	n.collecting.Lock()
	defer n.collecting.Unlock()
	kept := cid.NewSet()
	for pin := range n.pins.RecursiveKeys(ctx, false) {
		if pin.Err != nil {
			return pin.Err
		}
		err := merkledag.Walk(ctx, merkledag.GetLinksDirect(n.dag), pin.Pin.Key, func(found cid.Cid) bool {
			return kept.Visit(cid.NewCidV1(cid.Raw, found.Hash()))
		})
		if err != nil {
			return err
		}
	}
	keys, err := n.blocks.AllKeysChan(ctx)
	if err != nil {
		return err
	}
	for key := range keys {
		if !kept.Has(cid.NewCidV1(cid.Raw, key.Hash())) {
			if err := n.blocks.DeleteBlock(ctx, key); err != nil {
				return err
			}
		}
	}
	return nil
}

func (n *node) pinned(ctx context.Context, key cid.Cid) (bool, error) {
	_, pinned, err := n.pins.IsPinnedWithType(ctx, key, pinner.Recursive)
	return pinned, err
}

func (n *node) pin(ctx context.Context, key cid.Cid) error {
	root, err := n.dag.Get(ctx, key)
	if err != nil {
		return err
	}
	if err := n.pins.Pin(ctx, root, true, ""); err != nil {
		return err
	}
	return n.pins.Flush(ctx)
}

func (n *node) unpin(ctx context.Context, key cid.Cid) error {
	err := n.pins.Unpin(ctx, key, true)
	if errors.Is(err, pinner.ErrNotPinned) {
		return fmt.Errorf("not pinned or pinned indirectly")
	}
	if err != nil {
		return err
	}
	return n.pins.Flush(ctx)
}
