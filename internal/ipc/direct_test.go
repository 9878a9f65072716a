package ipc

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// directPair is a direct connection and its other end.
func directPair(t *testing.T) (*direct, *net.UnixConn) {
	t.Helper()
	ln, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(t.TempDir(), "s"), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	near, err := net.DialUnix("unix", nil, ln.Addr().(*net.UnixAddr))
	if err != nil {
		t.Fatal(err)
	}
	far, err := ln.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	d, err := newDirect(near)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close(); far.Close() })
	return d, far
}

func TestDirectIsReadByTheThreadAtFirst(t *testing.T) {
	d, far := directPair(t)
	if _, err := far.Write([]byte("now")); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 10)
	if n, err := d.Read(buf); string(buf[:n]) != "now" || err != nil || d.late != nil {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	go func() {
		time.Sleep(3 * directTime)
		_, _ = far.Write([]byte("late"))
		_ = far.Close()
	}()
	if n, err := d.Read(buf); string(buf[:n]) != "late" || err != nil || d.late == nil {
		t.Fatalf("got %q, %v", buf[:n], err)
	}
	if _, err := d.Read(buf); !errors.Is(err, io.EOF) {
		t.Errorf("at the end: %v", err)
	}
}

// A reader and a writer that the other end does not serve are ended from outside.
func TestDirectIsEndedFromOutside(t *testing.T) {
	for name, block := range map[string]func(*direct) error{
		"read":  func(d *direct) error { _, err := d.Read(make([]byte, 1)); return err },
		"write": func(d *direct) error { _, err := d.Write(make([]byte, 8<<20)); return err },
	} {
		for _, after := range []time.Duration{0, 3 * directTime} {
			d, _ := directPair(t)
			ended := make(chan error)
			go func() { ended <- block(d) }()
			time.Sleep(after)
			if err := d.SetDeadline(past); err != nil {
				t.Fatal(err)
			}
			if err := <-ended; !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s, ended after %v: %v", name, after, err)
			}
		}
	}
}

func TestDirectSendsMoreThanFits(t *testing.T) {
	d, far := directPair(t)
	sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<19)
	got := make(chan []byte)
	go func() {
		time.Sleep(3 * directTime)
		all, _ := io.ReadAll(far)
		got <- all
	}()
	if n, err := d.Write(sent); n != len(sent) || err != nil {
		t.Fatalf("sent %d, %v", n, err)
	}
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(<-got, sent) {
		t.Error("something else arrived")
	}
}
