package claude

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestEnviron(t *testing.T) {
	t.Parallel()
	kept := []string{
		"ANTHROPIC_API_KEY=k", "ANTHROPIC_BASE_URL=u", "CLAUDE_CODE_OAUTH_TOKEN=o", "CLAUDE_CODE_USE_BEDROCK=1", "CLAUDE_CODE_USE_VERTEX=1",
		"CLAUDE_CONFIG_DIR=/c", "HTTPS_PROXY=p", "IS_SANDBOX=1", "NO_PROXY=n", "PATH=/bin", "https_proxy=q",
	}
	client := slices.Concat([]string{"PATH=/old", "HOME=/h"}, kept, []string{"=C:=x", "noequals", "N=\x00", "\x00=n", ""})
	for _, name := range stripped {
		client = append(client, name+"=x")
	}
	got := Environ(client, map[string]string{"HOME": "/other", envTaskID: "t", envRun: "r", envDepth: "2", "": "x", "A=B": "x", "C": "\x00"})
	want := slices.Concat(kept, []string{"HOME=/h", envTaskID + "=t", envRun + "=r", envDepth + "=2"})
	slices.Sort(want)
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

func TestEnvironHasAHome(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ client, want string }{
		{"X=1", "HOME=/fallback"}, {"HOME=", "HOME=/fallback"}, {"HOME=/h", "HOME=/h"},
	} {
		if got := Environ([]string{c.client}, map[string]string{"HOME": "/fallback"}); !slices.Contains(got, c.want) {
			t.Errorf("client %q: %q", c.client, got)
		}
	}
}

func TestDepth(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		client []string
		want   int
	}{
		{nil, 0},
		{[]string{"CCTASK_DEPTH=3"}, 3},
		{[]string{"CCTASK_DEPTH=3", "CCTASK_DEPTH=4"}, 4},
		{[]string{"CCTASK_DEPTH=-1"}, 0},
		{[]string{"CCTASK_DEPTH=many"}, 0},
		{[]string{"XCCTASK_DEPTH=5", "CCTASK_DEPTHS=6"}, 0},
	} {
		if got := Depth(c.client); got != c.want {
			t.Errorf("%q: %d, want %d", c.client, got, c.want)
		}
	}
}

func FuzzEnviron(f *testing.F) {
	f.Add("A=1\nA=2\nCLAUDECODE=1\nHOME=", "CCTASK_RUN", "x")
	f.Add("=\n==\nB=\x00", "B=C", "\x00")
	f.Fuzz(func(t *testing.T, lines, name, value string) {
		client := strings.Split(lines, "\n")
		got := Environ(client, map[string]string{name: value, "HOME": "/h"})
		seen := map[string]string{}
		for _, kv := range got {
			n, v, ok := strings.Cut(kv, "=")
			if _, twice := seen[n]; !ok || n == "" || twice || strings.ContainsRune(kv, 0) {
				t.Fatalf("%q in %q", kv, got)
			}
			if slices.Contains(stripped, n) && n != name {
				t.Fatalf("%s reaches claude", n)
			}
			seen[n] = v
		}
		if seen["HOME"] == "" && name != "HOME" || !slices.IsSorted(names(got)) {
			t.Fatalf("%q", got)
		}
	})
}

func names(env []string) []string {
	out := make([]string, len(env))
	for i, kv := range env {
		out[i], _, _ = strings.Cut(kv, "=")
	}
	return out
}

func TestLineage(t *testing.T) {
	for _, c := range []struct {
		env  []string
		want string
	}{
		{nil, "[]"},
		{[]string{"HOME=/h"}, "[]"},
		{[]string{"CCTASK_TASK_ID=B"}, "[B]"},
		{[]string{"CCTASK_TASK_ID=C", "CCTASK_ANCESTORS=A,B"}, "[A B C]"},
		{[]string{"CCTASK_ANCESTORS=", "CCTASK_TASK_ID=C"}, "[C]"},
	} {
		if got := fmt.Sprint(Lineage(c.env)); got != c.want {
			t.Errorf("%v: %s, want %s", c.env, got, c.want)
		}
	}
}
