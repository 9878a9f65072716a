package task

import (
	"fmt"
	"strconv"
	"strings"
)

// SiteSpec is a [sites.NAME] of the settings file: hosts on which tasks may run.
type SiteSpec struct {
	Kind  string
	Hosts []string // of ssh: as it knows them, each with :SLOTS
	Pipe  []string // a command whose stdin and stdout are those of a shell over there
	Slots float64  // of a pipe's host
	Dir   string   // over there, for what runs; "": its own default
	// Claude is a path over there, or a name on the PATH there; "": claude.
	Claude  string
	Program string // a cctask over there; "": this one is copied
	Env     []string
	// CallerEnv are further variables that reach ssh, or the pipe's command, as they
	// were where the task was submitted.
	CallerEnv []string
}

// The kinds.
const (
	SiteSSH  = "ssh"
	SitePipe = "pipe"
)

// DefaultSiteSlots is how many tasks run at once on a host of which nothing is said.
const DefaultSiteSlots = 4

// SiteRows are the keys of [sites.NAME].
var SiteRows = []Row[SiteSpec]{
	{Name: "kind", Words: []string{SiteSSH, SitePipe}, at: func(s *SiteSpec) any { return &s.Kind }},
	{Name: "hosts", Kind: KindList, Items: 1000, Chars: 300, at: func(s *SiteSpec) any { return &s.Hosts }},
	{Name: "pipe", Kind: KindList, Items: 64, Chars: mostPath, at: func(s *SiteSpec) any { return &s.Pipe }},
	{Name: "slots", Kind: KindNumber, Least: 1, Most: 1000, at: func(s *SiteSpec) any { return &s.Slots }},
	{Name: "dir", Chars: mostPath, at: func(s *SiteSpec) any { return &s.Dir }},
	{Name: "claude", Chars: mostPath, at: func(s *SiteSpec) any { return &s.Claude }},
	{Name: "program", Chars: mostPath, at: func(s *SiteSpec) any { return &s.Program }},
	{Name: "env", Kind: KindList, Items: mostItems, Chars: MaxName, at: func(s *SiteSpec) any { return &s.Env }},
	{Name: "caller_env", Kind: KindList, Items: mostItems, Chars: MaxName, at: func(s *SiteSpec) any { return &s.CallerEnv }},
}

// SiteHost is where a task may run, and how many at once.
type SiteHost struct {
	Name  string
	Slots int
	Pipe  []string
}

// HostsOf are those of a site called name.
func (s SiteSpec) HostsOf(name string) (list []SiteHost, err error) {
	if s.Kind == SitePipe {
		return []SiteHost{{name, max(1, int(s.Slots)), s.Pipe}}, nil
	}
	seen := map[string]bool{}
	for _, text := range s.Hosts {
		h := SiteHost{Name: text, Slots: DefaultSiteSlots}
		if at := strings.LastIndexByte(text, ':'); at >= 0 {
			h.Name = text[:at]
			if h.Slots, err = strconv.Atoi(text[at+1:]); err != nil || h.Slots < 0 || h.Slots > 1000 {
				return nil, invalid("hosts", fmt.Sprintf("%q does not end in a number of slots", text), "Write a host as ssh knows it and how many tasks it takes at once, like build1:8.")
			}
		}
		if h.Name == "" || strings.HasPrefix(h.Name, "-") || strings.ContainsAny(h.Name, " \t\n") || seen[h.Name] {
			return nil, invalid("hosts", fmt.Sprintf("%q is no host, or stands twice", text), "Write each host once, as ssh knows it: build1:8 or me@gpu1:2.")
		}
		seen[h.Name] = true
		h.Pipe = []string{
			"ssh", "-T", "-o", "ServerAliveInterval=5", "-o", "ServerAliveCountMax=3", "-o", "ConnectTimeout=10", h.Name, "sh",
		}
		list = append(list, h)
	}
	return list, nil
}

// Check refuses a site that leads nowhere.
func (s SiteSpec) Check() error {
	switch {
	case s.Kind == "":
		return invalid("kind", "is missing", "Write kind = \"ssh\" with hosts = [\"build1:8\"], or kind = \"pipe\" with pipe = [\"podman\", \"exec\", \"-i\", \"NAME\", \"sh\"].")
	case s.Kind == SiteSSH && (len(s.Hosts) == 0 || len(s.Pipe) > 0 || s.Slots > 0):
		return invalid("hosts", "are what a site of kind ssh has, and all that it has of hosts, pipe and slots", "Write hosts = [\"build1:8\", \"me@gpu1:2\"].")
	case s.Kind == SitePipe && (len(s.Pipe) == 0 || len(s.Hosts) > 0):
		return invalid("pipe", "is what a site of kind pipe has, and no hosts", "Write pipe = [\"podman\", \"exec\", \"-i\", \"NAME\", \"sh\"]: a command with a shell at its end.")
	}
	for _, path := range []string{s.Dir, s.Program} {
		if path != "" && !strings.HasPrefix(path, "/") && !strings.HasPrefix(path, "~/") {
			return invalid("dir and program", fmt.Sprintf("%q is not an absolute path over there", path), "Begin it with / or ~/.")
		}
	}
	_, err := s.HostsOf("")
	return err
}
