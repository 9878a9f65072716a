package cli

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"cctask/engine"
	"cctask/engine/runner"
	"cctask/engine/site"
	"cctask/engine/task"
	"cctask/internal/sys"
)

// siteVerb is what an owner elsewhere starts at the end of a pipe.
const siteVerb = "_site"

func runSite(dir string, env Env) int {
	runner.Name("cctask-site")
	if err := (&site.Far{Dir: dir, Version: version()}).Serve(env.Stdin, env.Stdout); err != nil {
		fmt.Fprintln(env.Stderr, "cctask:", err)
		return 1
	}
	return 0
}

var _ engine.Site = (*site.Site)(nil)

// openSites makes the sites of the settings file; nobody is spoken to yet.
func (o *owner) openSites(dir string) (map[string]engine.Site, error) {
	all := map[string]engine.Site{}
	for name, s := range o.policy.settings().Sites {
		id, err := siteID(dir)
		if err != nil {
			return nil, err
		}
		c, err := siteConfig(name, id, s)
		if err != nil {
			return nil, err
		}
		far := site.New(c)
		o.sites = append(o.sites, far)
		all[name] = far
	}
	return all, nil
}

func siteConfig(name, id string, s task.SiteSpec) (site.Config, error) {
	hosts, err := s.HostsOf(name)
	c := site.Config{Name: name, ID: id, Dir: s.Dir, Claude: s.Claude, Program: s.Program, Env: s.Env, CallerEnv: s.CallerEnv}
	for _, h := range hosts {
		c.Hosts = append(c.Hosts, site.Host(h))
	}
	return c, err
}

// siteID names a state directory on the hosts of its sites, where others have theirs
// beside it. It is made once, and goes with the directory when that is moved.
func siteID(dir string) (string, error) {
	path := filepath.Join(dir, "site.id")
	b, err := os.ReadFile(path)
	if err == nil && len(b) > 0 {
		return string(b), nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("read the name of the state directory: %w", err)
	}
	id := make([]byte, 8)
	_, _ = rand.Read(id)
	text := hex.EncodeToString(id)
	err = sys.WriteFile(path, func(w io.Writer) error {
		_, err := io.WriteString(w, text)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("give the state directory a name for its sites: %w", err)
	}
	return text, nil
}
