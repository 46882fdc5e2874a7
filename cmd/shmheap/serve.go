package main

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/shmheap/shmheap/cmd/shmheap/internal/live"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/screen"
	"github.com/shmheap/shmheap/cmd/shmheap/internal/web"
	"github.com/spf13/cobra"
)

const serveLong = `Show a heap live in a browser: what "shmheap top" and "shmheap map" show, on one
page that needs nothing from elsewhere. /metrics has the same for Prometheus, and
/api as JSON. The heap is only looked at: no request changes anything.

Only who knows the token in the printed address gets an answer. It is made anew
at each start; set $SHMHEAP_TOKEN to choose it, as a Prometheus that sends it as
a bearer's token needs. Nothing is encrypted: by default only this machine can
connect. From another one use: ssh -L 8080:127.0.0.1:8080 HOST`

const serveExample = `  shmheap serve orders
  shmheap serve orders --listen 127.0.0.1:8080
  SHMHEAP_TOKEN=secret shmheap serve orders --listen 127.0.0.1:8080 &
  curl -H 'Authorization: Bearer secret' http://127.0.0.1:8080/metrics`

// tokenVariable has the token that serve wants.
const tokenVariable = "SHMHEAP_TOKEN"

// serveFlags are the flags of serve.
type serveFlags struct {
	listen   string
	interval time.Duration
}

// serveJSON is what "serve --json" prints when it is ready.
type serveJSON struct {
	URL     string `json:"url"`     // of the page, with the token
	API     string `json:"api"`     // the same as JSON
	Metrics string `json:"metrics"` // for Prometheus
}

func (a *app) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := a.oneName(&cobra.Command{
		Use:     "serve NAME",
		Short:   "Show a heap live in a browser, and to Prometheus",
		Long:    serveLong,
		Example: serveExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.interval < screen.MinInterval || f.interval > screen.MaxInterval {
				a.ready = false // wrong usage
				return fmt.Errorf("--interval %v: want %v to %v", f.interval, screen.MinInterval, screen.MaxInterval)
			}
			return a.looked(args[0], func(w *live.Watcher) error { return a.serve(cmd.Context(), w, &f) })
		},
	})
	cmd.Flags().StringVar(&f.listen, "listen", "127.0.0.1:0", "`address` and port; port 0 is a free one")
	cmd.Flags().DurationVar(&f.interval, "interval", time.Second, "how often to look")
	return cmd
}

func (a *app) serve(ctx context.Context, w *live.Watcher, f *serveFlags) error {
	server, err := web.New(web.Config{Look: w.Look, Interval: f.interval, Token: os.Getenv(tokenVariable)})
	if err != nil {
		return err
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w: %w", errListen, err)
	}
	at := l.Addr().(*net.TCPAddr)
	if !at.IP.IsLoopback() {
		fmt.Fprintln(a.err, "shmheap: others can connect too, and nothing is encrypted, the token neither")
	}
	if err := a.announce(at, server.Token); err != nil {
		return err
	}
	return server.Serve(ctx, l)
}

// announce prints the addresses, which work from now on.
func (a *app) announce(at *net.TCPAddr, token string) error {
	address := func(path string) string {
		return (&url.URL{Scheme: "http", Host: at.String(), Path: path, RawQuery: "token=" + url.QueryEscape(token)}).String()
	}
	j := serveJSON{URL: address("/"), API: address("/api"), Metrics: address("/metrics")}
	if a.json {
		return a.printJSON(j)
	}
	a.printf("%s\nCtrl-C ends it\n", j.URL)
	return nil
}
