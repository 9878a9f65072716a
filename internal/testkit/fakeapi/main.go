package fakeapi

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

// Main serves in a process of its own: it prints the URL on stdout, serves
// until stdin ends or SIGTERM or SIGINT comes, and returns the exit code. A
// parent keeps a pipe to its stdin, so that no server outlives the parent.
func Main(args []string) int {
	flags := flag.NewFlagSet("fakeapid", flag.ContinueOnError)
	addr := flags.String("addr", "127.0.0.1:0", "loopback `address` to listen on")
	if flags.Parse(args) != nil {
		return 2
	}
	s, err := Listen(*addr)
	if err != nil {
		fmt.Fprintln(os.Stderr, "fakeapid:", err)
		return 1
	}
	defer s.Close()
	fmt.Println(s.URL)

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		stop()
	}()
	<-ctx.Done()
	return 0
}
