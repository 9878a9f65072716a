package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// client is an MCP client over a server's stdin and stdout. It does no more than
// the measurement needs: each call waits for the line with its own id.
type client struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	mu   sync.Mutex
	id   int
	wait map[int]chan json.RawMessage
}

const hello = `{"protocolVersion":"2025-11-25","capabilities":{},"clientInfo":{"name":"bench","version":"1"}}`

// serve starts a server; it returns after the first answer, and says how long that took.
func (b *bench) serve(name string, args ...string) (*client, time.Duration, error) {
	c := &client{cmd: b.command(name, args...), wait: map[int]chan json.RawMessage{}}
	out, err := c.cmd.StdoutPipe()
	if err == nil {
		c.in, err = c.cmd.StdinPipe()
	}
	if err != nil {
		return nil, 0, err
	}
	begin := time.Now()
	if err := c.cmd.Start(); err != nil {
		return nil, 0, err
	}
	go c.read(out)
	_, err = c.call("initialize", hello)
	took := time.Since(begin)
	if err == nil {
		_, err = fmt.Fprintln(c.in, `{"jsonrpc":"2.0","method":"notifications/initialized"}`)
	}
	return c, took, err
}

func (c *client) read(out io.Reader) {
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		var m struct {
			ID     int             `json:"id"`
			Result json.RawMessage `json:"result"`
		}
		if json.Unmarshal(line, &m) != nil || m.ID == 0 {
			continue
		}
		c.mu.Lock()
		ch := c.wait[m.ID]
		delete(c.wait, m.ID)
		c.mu.Unlock()
		if ch != nil {
			ch <- m.Result
		}
	}
}

func (c *client) send(method, params string) (<-chan json.RawMessage, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id++
	ch := make(chan json.RawMessage, 1)
	c.wait[c.id] = ch
	_, err := fmt.Fprintf(c.in, `{"jsonrpc":"2.0","id":%d,"method":%q,"params":%s}`+"\n", c.id, method, params)
	return ch, err
}

func (c *client) call(method, params string) (json.RawMessage, error) {
	ch, err := c.send(method, params)
	if err != nil {
		return nil, err
	}
	select {
	case r := <-ch:
		if r == nil {
			return nil, fmt.Errorf("%s %s is refused", method, params)
		}
		return r, nil
	case <-time.After(time.Minute):
		return nil, fmt.Errorf("%s: no answer within a minute", method)
	}
}

func tool(name, args string) string { return fmt.Sprintf(`{"name":%q,"arguments":%s}`, name, args) }

func status(id string) string { return tool("check_task_status", fmt.Sprintf(`{"task_id":%q}`, id)) }

// each makes n calls one after the other and returns the median of their times in
// microseconds.
func (c *client) each(n int, params string) (float64, error) {
	times := make([]float64, n)
	for i := range times {
		begin := time.Now()
		if _, err := c.call("tools/call", params); err != nil {
			return 0, err
		}
		times[i] = float64(time.Since(begin).Nanoseconds()) / 1000
	}
	return median(times), nil
}

// close ends the server as a client does.
func (c *client) close() {
	_ = c.in.Close()
	_ = c.cmd.Wait()
}

// owner is the pid of the running owner, which a first command starts.
func (b *bench) owner() (int, error) {
	if _, err := b.output(b.cctask, "list"); err != nil {
		return 0, err
	}
	out, err := b.output(b.cctask, "daemon", "status", "--json")
	var s struct {
		PID int `json:"pid"`
	}
	if err == nil {
		err = json.Unmarshal([]byte(out), &s)
	}
	return s.PID, err
}

// finished is the id of a task that has ended.
func (b *bench) finished() (string, error) {
	id, err := b.output(b.cctask, "start", "A trivial task.")
	if err == nil {
		_, err = b.output(b.cctask, "wait", id)
	}
	return strings.TrimSpace(id), err
}
