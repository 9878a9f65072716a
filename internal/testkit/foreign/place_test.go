package foreign

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"cctask/internal/testkit/cctest"
)

// Where a scenario finds a server.
type place string

const (
	stdio    place = "stdio"    // the built cctask, behind the bridge
	overHTTP place = "http"     // the built cctask with --http, behind a proxy that has the token
	fixtures place = "fixtures" // package mcp with the suite's task tools, behind the bridge
	fixHTTP  place = "fix-http" // the same with HTTP of its own
)

// serve starts a server and returns where it is.
func (m *machine) serve(at place) string {
	m.T.Helper()
	const token = "the-token-of-the-fixtures"
	fixture := func(mode string) func() *exec.Cmd {
		path := fixtureServer(m.T)
		return func() *exec.Cmd {
			cmd := m.Command()
			cmd.Path, cmd.Args = path, []string{"mcp.test"}
			cmd.Env = append(cmd.Env, "CCTASK_MCP_TEST="+mode, "CCTASK_MCP_TOKEN="+token)
			return cmd
		}
	}
	switch at {
	case stdio:
		return newBridge(m.T, func() *exec.Cmd { return m.Command("mcp") })
	case fixtures:
		return newBridge(m.T, fixture("fixtures"))
	case fixHTTP:
		return m.proxy(fixture("fixtures-http")(), func() string { return token })
	case overHTTP:
	}
	return m.proxy(m.Command("mcp", "--http", "127.0.0.1:0"), func() string {
		data, err := os.ReadFile(filepath.Join(m.Dir, "http.token"))
		if err != nil {
			m.T.Fatal(err)
		}
		return strings.TrimSpace(string(data))
	})
}

// proxy starts a server that says on stderr where it listens, and returns where
// to reach it without its token.
func (m *machine) proxy(cmd *exec.Cmd, token func() string) string {
	m.T.Helper()
	said, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		m.T.Fatal(err)
	}
	m.T.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	line, err := bufio.NewReader(said).ReadString('\n')
	found := regexp.MustCompile(`http://[^ ,]+`).FindString(line)
	target, err2 := url.Parse(found)
	if err != nil || err2 != nil || found == "" {
		m.T.Fatalf("%s said %q: %v, %v", cmd, line, err, err2)
	}
	bearer := "Bearer " + token()
	proxy := &httputil.ReverseProxy{
		FlushInterval: -1,
		ErrorLog:      log.New(io.Discard, "", 0), // a client that leaves a stream
		Transport:     &http.Transport{},          // the default one is closed at the end of any test's server
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = target.Scheme, target.Host
			r.Out.Host = r.In.Host // the server is to judge it
			r.Out.Header.Set("Authorization", bearer)
		},
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Whole, for the answer may begin while the proxy looks for the end of the
		// request: that read would fail then, and cut the answer.
		body, err := io.ReadAll(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		proxy.ServeHTTP(w, r)
	}))
	m.T.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL + target.Path
}

var buildFixtures = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(cctest.Binary), "mcp.test")
	out, err := exec.Command("go", "test", "-c", "-o", path, "cctask/mcp").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("build the server with fixtures: %w\n%s", err, out)
	}
	return path, err
})

func fixtureServer(t *testing.T) string {
	t.Helper()
	path, err := buildFixtures()
	if err != nil {
		t.Fatal(err)
	}
	return path
}
