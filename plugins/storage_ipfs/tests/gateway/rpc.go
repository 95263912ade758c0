package main

import (
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"

	"github.com/ipfs/boxo/ipld/merkledag"
	unixfs "github.com/ipfs/boxo/ipld/unixfs/io"
	blocks "github.com/ipfs/go-block-format"
	"github.com/ipfs/go-cid"
	car "github.com/ipld/go-car/v2"
	"github.com/ipld/go-car/v2/storage"
)

// rpc speaks as much of a node's RPC as the plugin uses; it follows the documented conventions, and is no reference
// for them: the tests against a daemon that others wrote are in test_daemon.py.
func (n *node) rpc() http.Handler {
	calls := map[string]func(http.ResponseWriter, *http.Request) error{
		"add": n.callAdd, "cat": n.callCat, "block/get": n.callBlockGet, "block/stat": n.callBlockStat,
		"dag/export": n.callExport, "dag/import": n.callImport, "pin/add": n.callPin, "pin/rm": n.callUnpin,
		"pin/ls": n.callPins, "repo/gc": n.callCollect,
		"version": func(w http.ResponseWriter, _ *http.Request) error {
			return answer(w, map[string]string{"Version": "0.0.0-balance-tests"})
		},
	}
	mux := http.NewServeMux()
	for name, call := range calls {
		mux.HandleFunc("/api/v0/"+name, func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPost {
				http.Error(w, "405 - Method Not Allowed", http.StatusMethodNotAllowed)
				return
			}
			if err := call(w, r); err != nil {
				w.Header().Set("Content-Type", "application/json")
				w.WriteHeader(http.StatusInternalServerError)
				_ = answer(w, map[string]any{"Message": err.Error(), "Code": 0, "Type": "error"})
			}
		})
	}
	return mux
}

func answer(w io.Writer, value any) error {
	return json.NewEncoder(w).Encode(value)
}

func key(r *http.Request) (cid.Cid, error) {
	return cid.Decode(r.URL.Query().Get("arg"))
}

func upload(r *http.Request) (*multipart.Part, error) {
	parts, err := r.MultipartReader()
	if err != nil {
		return nil, err
	}
	return parts.NextPart()
}

func (n *node) callAdd(w http.ResponseWriter, r *http.Request) error {
	query := r.URL.Query()
	want := map[string]string{
		"cid-version": "1", "raw-leaves": "true", "chunker": "size-262144", "hash": "sha2-256", "cid-base": "base32",
		"trickle": "false", "wrap-with-directory": "false", "inline": "false", "nocopy": "false",
	}
	for name, value := range want {
		if query.Get(name) != value {
			return fmt.Errorf("these tests expect %s=%s and got %q", name, value, query.Get(name))
		}
	}
	file, err := upload(r)
	if err != nil {
		return err
	}
	n.collecting.RLock()
	defer n.collecting.RUnlock()
	root, err := n.add(r.Context(), file, layouts[0])
	if err != nil {
		return err
	}
	if query.Get("only-hash") != "true" && query.Get("pin") == "true" {
		if err := n.pin(r.Context(), root.Cid()); err != nil {
			return err
		}
	}
	return answer(w, map[string]string{"Name": "blob", "Hash": root.Cid().String(), "Size": "0"})
}

func (n *node) callCat(w http.ResponseWriter, r *http.Request) error {
	root, err := key(r)
	if err != nil {
		return err
	}
	found, err := n.dag.Get(r.Context(), root)
	if err != nil {
		return err
	}
	content, err := unixfs.NewDagReader(r.Context(), found, n.dag)
	if err != nil {
		return err
	}
	_, _ = io.Copy(w, content) // what fails from here on shows as a broken body
	return nil
}

func (n *node) callBlockGet(w http.ResponseWriter, r *http.Request) error {
	wanted, err := key(r)
	if err != nil {
		return err
	}
	block, err := n.blockService.GetBlock(r.Context(), wanted)
	if err != nil {
		return err
	}
	_, err = w.Write(block.RawData())
	return err
}

func (n *node) callBlockStat(w http.ResponseWriter, r *http.Request) error {
	wanted, err := key(r)
	if err != nil {
		return err
	}
	block, err := n.blockService.GetBlock(r.Context(), wanted)
	if err != nil {
		return err
	}
	return answer(w, map[string]any{"Key": wanted.String(), "Size": len(block.RawData())})
}

func (n *node) callExport(w http.ResponseWriter, r *http.Request) error {
	root, err := key(r)
	if err != nil {
		return err
	}
	if _, err := n.dag.Get(r.Context(), root); err != nil {
		return err
	}
	written, err := storage.NewWritable(w, []cid.Cid{root}, car.WriteAsCarV1(true))
	if err != nil {
		return err
	}
	_ = merkledag.Walk(r.Context(), merkledag.GetLinksDirect(n.dag), root, func(found cid.Cid) bool {
		block, err := n.blocks.Get(r.Context(), found)
		return err == nil && written.Put(r.Context(), found.KeyString(), block.RawData()) == nil
	})
	return nil
}

func (n *node) callImport(w http.ResponseWriter, r *http.Request) error {
	file, err := upload(r)
	if err != nil {
		return err
	}
	archive, err := car.NewBlockReader(file)
	if err != nil {
		return err
	}
	n.collecting.RLock()
	defer n.collecting.RUnlock()
	var block blocks.Block
	for block, err = archive.Next(); err == nil; block, err = archive.Next() {
		if err := n.blocks.Put(r.Context(), block); err != nil {
			return err
		}
	}
	if err != io.EOF {
		return err
	}
	for _, root := range archive.Roots {
		problem := ""
		if err := n.pin(r.Context(), root); err != nil {
			problem = err.Error()
		}
		line := map[string]any{"Cid": map[string]string{"/": root.String()}, "PinErrorMsg": problem}
		if err := answer(w, map[string]any{"Root": line}); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) callPin(w http.ResponseWriter, r *http.Request) error {
	root, err := key(r)
	if err != nil {
		return err
	}
	if err := n.pin(r.Context(), root); err != nil {
		return err
	}
	return answer(w, map[string]any{"Pins": []string{root.String()}})
}

func (n *node) callUnpin(w http.ResponseWriter, r *http.Request) error {
	root, err := key(r)
	if err != nil {
		return err
	}
	if err := n.unpin(r.Context(), root); err != nil {
		return err
	}
	return answer(w, map[string]any{"Pins": []string{root.String()}})
}

func (n *node) callPins(w http.ResponseWriter, r *http.Request) error {
	type entry struct{ Type string }
	if r.URL.Query().Get("arg") != "" {
		root, err := key(r)
		if err != nil {
			return err
		}
		pinned, err := n.pinned(r.Context(), root)
		if err != nil {
			return err
		}
		if !pinned {
			return fmt.Errorf("path '%s' is not pinned", root)
		}
		return answer(w, map[string]any{"Keys": map[string]entry{root.String(): {"recursive"}}})
	}
	for pin := range n.pins.RecursiveKeys(r.Context(), false) {
		if pin.Err != nil {
			return pin.Err
		}
		if err := answer(w, map[string]any{"Cid": pin.Pin.Key.String(), "Type": "recursive"}); err != nil {
			return err
		}
	}
	return nil
}

func (n *node) callCollect(_ http.ResponseWriter, r *http.Request) error {
	return n.collect(r.Context())
}
