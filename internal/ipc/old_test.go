package ipc

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"path/filepath"
	"testing"

	"cctask/engine/task"
)

// An owner of the release before speaks frames too, in which verbs have changed
// since. It is asked for nothing but to leave.
func TestOwnerOfAnOlderLanguageLeaves(t *testing.T) {
	t.Parallel()
	for name, ask := range map[string]func(c *Client) error{
		"stop": func(c *Client) error { return c.Stop(within(t, hang), false) },
		"call": func(c *Client) error {
			_, err := c.List(within(t, hang), task.Filter{})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := stateDir(t)
			asked := olderOwner(t, dir)
			if err := ask(front(t, dir)); err != nil {
				t.Error(err)
			}
			if got := <-asked; got != "stop" {
				t.Errorf("it was asked %q", got)
			}
		})
	}
}

// olderOwner serves one request in the language before ours, tells its verb, and leaves.
func olderOwner(t *testing.T, dir string) <-chan string {
	t.Helper()
	o, err := Acquire(context.Background(), dir, Lock{Version: "0.0.1"})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "older")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if err := o.set(func(l *Lock) { l.Protocol, l.Phase, l.Socket = Protocol-1, PhaseServing, socket }); err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s %d %s\n", greeting, Protocol-1, o.lock.identity())
	asked := make(chan string, 1)
	go func() {
		defer l.Close()
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		r := bufio.NewReader(c)
		hi, _ := r.ReadString('\n')
		verb, _, err := readFrame(r, maxAnswer)
		if err != nil || hi != want {
			verb = fmt.Sprintf("%s in %q: %v", verb, hi, err)
		}
		if err := writeFrame(c, "", headAnswer, []byte("{}")); err != nil {
			verb = err.Error()
		}
		if err := o.Release(); err != nil {
			verb = err.Error()
		}
		asked <- verb
	}()
	return asked
}
