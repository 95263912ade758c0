// The other side of the plugin's tests, built on the libraries of the reference node:
//
//	gateway cids FILE SIZE...   the addresses of a file's first SIZE bytes, in four layouts
//	gateway serve REPO          a trustless gateway and a node's RPC on loopback, until standard input ends
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"strings"

	"github.com/ipfs/boxo/gateway"
)

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "error:", err)
		os.Exit(1)
	}
}

func run(arguments []string) error {
	switch {
	case len(arguments) >= 3 && arguments[0] == "cids":
		return printCids(arguments[1], arguments[2:])
	case len(arguments) == 2 && arguments[0] == "serve":
		return serve(arguments[1])
	}
	return fmt.Errorf("usage: gateway cids FILE SIZE... | gateway serve REPO")
}

func printCids(path string, sizes []string) error {
	out := bufio.NewWriter(os.Stdout)
	for _, text := range sizes {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return err
		}
		for _, layout := range layouts {
			found, err := cidOf(path, size, layout)
			if err != nil {
				return err
			}
			fmt.Fprintln(out, size, layout.name, found)
		}
	}
	return out.Flush()
}

func cidOf(path string, size int64, layout layout) (string, error) {
	file, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	forgetting, err := newNode("")
	if err != nil {
		return "", err
	}
	root, err := forgetting.add(context.Background(), io.LimitReader(file, size), layout)
	if err != nil {
		return "", err
	}
	return root.Cid().String(), nil
}

func serve(folder string) error {
	node, err := newNode(folder)
	if err != nil {
		return err
	}
	backend, err := gateway.NewBlocksBackend(node.blockService)
	if err != nil {
		return err
	}
	handler := gateway.NewHandler(gateway.Config{DeserializedResponses: false, DisableHTMLErrors: true}, backend)
	addresses := map[string]string{}
	for name, served := range map[string]http.Handler{"gateway": handler, "rpc": node.rpc()} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		addresses[name] = "http://" + listener.Addr().String()
		go func() { _ = http.Serve(listener, served) }()
	}
	line, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	fmt.Println(strings.TrimSpace(string(line)))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}
