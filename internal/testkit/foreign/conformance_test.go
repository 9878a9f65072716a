package foreign

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"cctask/internal/testkit/cctest"
)

// run says where each scenario runs that can.
var run = map[string][]place{
	"server-initialize":           {stdio, overHTTP},
	"ping":                        {stdio, overHTTP},
	"tools-list":                  {stdio, overHTTP},
	"resources-list":              {stdio, overHTTP},
	"sep-2164-resource-not-found": {stdio, overHTTP},
	"prompts-list":                {stdio, overHTTP},
	"caching":                     {stdio, overHTTP},
	"input-required-result-unsupported-methods": {stdio, overHTTP},
	"server-session-lifecycle":                  {overHTTP},
	"server-stateless":                          {overHTTP},
	"server-sse-multiple-streams":               {overHTTP},
	"dns-rebinding-protection":                  {overHTTP},
	"http-header-validation":                    {overHTTP},
	"tasks-request-headers":                     {fixHTTP},
	"tasks-lifecycle":                           {fixtures},
	"tasks-capability-negotiation":              {fixtures},
	"tasks-wire-fields":                         {fixtures},
	"tasks-request-state-removal":               {fixtures},
	"tasks-mrtr-input":                          {fixtures},
	"tasks-dispatch-and-envelope":               {fixtures},
	"tasks-required-task-error":                 {fixtures},
	"tasks-mrtr-composition":                    {fixtures},
}

// notRun says why the others cannot: a pattern of names, and the reason.
var notRun = []struct{ names, why string }{
	{"tools-call-.*", "calls tools that only the suite's own server has"},
	{"json-schema-2020-12|server-sse-polling|http-custom-header-server-validation", "wants a tool that only the suite's own server has"},
	{"elicitation-.*", "wants a tool that asks the user; ours ask nothing"},
	{"input-required-result-.*", "wants a tool that asks the client; ours ask nothing"},
	// A subscription to a resource that is none is refused, and theirs is none here.
	{"resources-(read-text|read-binary|templates-read|subscribe|unsubscribe)", "reads, or subscribes to, resources that only the suite's own server has"},
	{"prompts-get-.*|completion-complete", "gets prompts that only the suite's own server has"},
	{"logging-set-level", "wants the logging capability, which is deprecated and which we do not announce"},
	{"tasks-status-notifications", "the suite skips it itself: it looks at the wrong stream"},
	{"sep-2640-.*", "wants the skills extension, which we do not announce"},
}

// except are the checks that cannot pass within a scenario that runs, with
// the reason.
var except = map[string]string{
	"sep-2575-server-rejects-undeclared-capability":          "none of our tools needs a capability of the client",
	"sep-2575-missing-capability-http-400":                   "none of our tools needs a capability of the client",
	"sep-2575-http-server-no-independent-requests-on-stream": "none of our tools asks the client",
	"sep-2575-server-no-log-without-loglevel":                "we have no logging capability",
}

// scenarios are the suite's, with the revisions that each is for.
func (m *machine) scenarios() map[string][]string {
	m.T.Helper()
	out, log, err := m.suite("list", "--server")
	if err != nil {
		m.T.Fatalf("%v\n%s", err, log)
	}
	found := map[string][]string{}
	for _, line := range regexp.MustCompile(`(?m)^ +- (\S+) \[(.*)\]`).FindAllStringSubmatch(out, -1) {
		found[line[1]] = strings.Split(line[2], ",")
	}
	return found
}

func (m *machine) suite(args ...string) (stdout, stderr string, err error) {
	return m.run(nil, m.packages+"/@modelcontextprotocol/conformance/dist/index.js", args...)
}

// Every scenario of the suite for servers runs, or is listed with the reason.
// `make test` prints the list.
func TestConformance(t *testing.T) {
	m := newMachine(t)
	all := m.scenarios()
	var mu sync.Mutex
	var rows []string
	not := map[string][]string{}
	t.Run("run", func(t *testing.T) {
		for name, versions := range all {
			if run[name] == nil {
				why := whyNot(t, name)
				not[why] = append(not[why], name)
			}
			for _, at := range run[name] {
				for _, version := range versions {
					if !slices.Contains([]string{"2025-11-25", "2026-07-28", "extension"}, version) {
						continue
					}
					t.Run(fmt.Sprintf("%s/%s/%s", name, at, version), func(t *testing.T) {
						t.Parallel()
						row := fmt.Sprintf("%-10s  %-8s  %-41s  %s", version, at, name, conformance(t, name, at, version))
						mu.Lock()
						defer mu.Unlock()
						rows = append(rows, row)
					})
				}
			}
		}
	})
	for name := range run {
		if all[name] == nil {
			t.Errorf("the suite has no scenario %s", name)
		}
	}
	slices.Sort(rows)
	for _, why := range slices.Sorted(maps.Keys(not)) {
		slices.Sort(not[why])
		rows = append(rows, fmt.Sprintf("not run, %s: %s", why, strings.Join(not[why], ", ")))
	}
	text := "Conformance of the MCP server:\n" + strings.Join(rows, "\n") + "\n"
	t.Log(text)
	if err := os.WriteFile(cache+"/conformance.txt", []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}

func whyNot(t *testing.T, name string) string {
	for _, n := range notRun {
		if regexp.MustCompile(`^(` + n.names + `)$`).MatchString(name) {
			return n.why
		}
	}
	t.Errorf("scenario %s neither runs nor has a reason why not", name)
	return ""
}

// check is a verdict of the suite.
type check struct {
	ID     string `json:"id"`
	Name   string `json:"name"`
	Status string `json:"status"`
	Error  string `json:"errorMessage"`
}

// conformance runs one scenario and returns its count.
func conformance(t *testing.T, name string, at place, version string) string {
	t.Helper()
	m := newMachine(t)
	url := m.serve(at)
	dir := t.TempDir()
	args := []string{"server", "--url", url, "--scenario", name, "--output-dir", dir}
	if version != "extension" {
		args = append(args, "--spec-version", version)
	}
	out, log, _ := m.suite(args...) // the exit status says no more than the checks
	files, err := filepath.Glob(filepath.Join(dir, "*", "checks.json"))
	if err != nil || len(files) != 1 {
		t.Fatalf("%d results, %v\n%s\n%s", len(files), err, out, log)
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	return count(t, cctest.Parse[[]check](t, string(data)))
}

// count fails the test for a check that failed without excuse, and for an
// excuse that is not needed.
func count(t *testing.T, checks []check) string {
	t.Helper()
	var passed, excused int
	var others []string
	for _, c := range checks {
		why, excuse := except[c.ID]
		switch {
		case c.Status == "SUCCESS" && !excuse:
			passed++
		case c.Status == "FAILURE" && excuse:
			excused++
			others = append(others, c.ID+": "+why)
		case c.Status == "FAILURE":
			t.Errorf("%s %s: %s", c.ID, c.Name, c.Error)
		case c.Status == "SUCCESS":
			t.Errorf("%s passes: it needs no excuse", c.ID)
		default: // INFO, WARNING, SKIPPED
			others = append(others, c.ID+": "+c.Status+" "+c.Error)
		}
	}
	if passed == 0 {
		t.Error("no check passed")
	}
	if len(others) > 0 {
		t.Log(strings.Join(others, "\n"))
	}
	text := fmt.Sprintf("%d passed", passed)
	if excused > 0 {
		text += fmt.Sprintf(", %d not applicable", excused)
	}
	return text
}
