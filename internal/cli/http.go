package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"unicode"

	"cctask/engine/task"
	"cctask/internal/statedir"
	"cctask/internal/sys"
	"cctask/mcp"
)

type httpFlags struct {
	addr  string
	hosts []string
}

func (a *app) serveHTTP(ctx context.Context, server *mcp.Server, f httpFlags) error {
	s, err := a.settings()
	if err != nil {
		return err
	}
	addr, err := listenAddr(f)
	if err != nil {
		return err
	}
	token, file, err := httpToken(s.Dir)
	if err != nil {
		return err
	}
	l, err := net.ListenTCP("tcp", addr)
	if err != nil {
		return &task.Error{Code: task.CodeInvalid, Message: "--http", Err: err, Hint: "Give another port, or port 0 for any that is free."}
	}
	// Not the wildcard, which a client may not be able to dial.
	at := l.Addr().String()
	if len(f.hosts) > 0 {
		_, port, _ := net.SplitHostPort(at)
		at = net.JoinHostPort(f.hosts[0], port)
	}
	fmt.Fprintf(a.Stderr, "cctask: serving MCP at http://%s%s, bearer token in %s\n", at, mcp.Endpoint, file)
	if !addr.IP.IsLoopback() {
		fmt.Fprintf(a.Stderr, "cctask: warning: %s can be reached from other machines, without encryption: whoever sees the token can run commands as you\n", addr)
	}
	return server.ServeHTTPOn(ctx, l, mcp.HTTP{Token: token, Hosts: f.hosts})
}

// listenAddr is where to listen: on loopback, unless --http-host says by which
// names others come.
func listenAddr(f httpFlags) (*net.TCPAddr, error) {
	hint := "Give an address of this machine and a port, such as 127.0.0.1:7433; port 0 takes any that is free."
	for _, name := range f.hosts {
		if !isHost(name) {
			return nil, badInput(fmt.Sprintf("--http-host: %q is not the name or address of a host", name), "Give each name by which others reach this machine, as it stands in their URLs, without a port.")
		}
	}
	host, _, err := net.SplitHostPort(f.addr)
	if err != nil {
		return nil, badInput(fmt.Sprintf("--http: %q is not HOST:PORT", f.addr), hint)
	}
	addr, err := net.ResolveTCPAddr("tcp", f.addr)
	if err != nil {
		return nil, badInput(fmt.Sprintf("--http: %v", err), hint)
	}
	if !addr.IP.IsLoopback() && len(f.hosts) == 0 {
		return nil, badInput(fmt.Sprintf("--http: %q is not on loopback: other machines could reach it", host),
			"Give 127.0.0.1, or allow it with --http-host NAME, the name by which others reach this machine.")
	}
	return addr, nil
}

// isHost tells whether a name can stand in the Host header of a request: one with
// a port or a * would match none, and look as if it matched.
func isHost(name string) bool {
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil {
		return true
	}
	strange := func(r rune) bool {
		return r != '.' && r != '-' && r != '_' && (r > unicode.MaxASCII || !unicode.IsLetter(r) && !unicode.IsDigit(r))
	}
	return strings.Trim(name, ".") != "" && !strings.ContainsFunc(name, strange)
}

// httpToken is what clients must bear, and the file that has it. The first
// server makes it.
func httpToken(dir string) (token, file string, err error) {
	if err := statedir.Make(dir); err != nil {
		return "", "", err
	}
	file = filepath.Join(dir, "http.token")
	fi, err := os.Lstat(file)
	if errors.Is(err, fs.ErrNotExist) {
		if err := makeToken(file); err != nil {
			return "", "", statedir.Refused(err)
		}
		fi, err = os.Lstat(file)
	}
	if err != nil {
		return "", "", fmt.Errorf("look at %s: %w", file, err)
	}
	refuse := func(what string) (string, string, error) {
		return "", "", task.Errorf(task.CodeInvalid, "Remove it: a new one is made, which clients must then be given.", "%s %s", file, what)
	}
	st, ok := fi.Sys().(*syscall.Stat_t)
	switch {
	case !fi.Mode().IsRegular():
		return refuse("is not a plain file")
	case !ok || int(st.Uid) != os.Geteuid():
		return refuse("belongs to another user")
	case fi.Mode().Perm()&0o077 != 0:
		return refuse(fmt.Sprintf("is open to other users (mode %04o)", fi.Mode().Perm()))
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return "", "", fmt.Errorf("read the token: %w", err)
	}
	token = strings.TrimSpace(string(data))
	if len(token) < 20 || strings.ContainsAny(token, " \t\r\n") {
		return refuse("has no token of 20 characters or more in one line")
	}
	return token, file, nil
}

// makeToken makes a token durable before it has its name: neither a power cut
// nor a second server may see half of it. Of two servers one wins.
func makeToken(file string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".http.token-") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = fmt.Fprintln(f, rand.Text()+rand.Text())
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Link(f.Name(), file); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return sys.Sync(filepath.Dir(file))
}
