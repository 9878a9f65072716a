package settings

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
)

// withConfig is a front whose settings file, at the usual place, holds text.
func withConfig(t *testing.T, text string, vars map[string]string) (_ Source, file string) {
	t.Helper()
	all, file := cctest.Config(t, text, vars)
	return from(all), file
}

// everything sets each key that a settings file may have.
const everything = `# a comment
dir = "~/state"
claude = "/bin/sh"
jobs = 3
log_level = "debug"
log_format = "console"
embedded = true
keep_age = "7d"
keep_count = 10
keep_size = "10GiB"
idle = "1h"

[defaults]
model = "haiku"
labels = ["a", "b"]
timeout = "30m"
skip_permissions = false
permission_mode = "plan"
allowed_tools = ["Read"]
disallowed_tools = ["Bash"]
append_system_prompt = "be brief"
max_turns = 5
max_budget_usd = 1.5
json_schema = {type = "object"}
add_dirs = ["~/lib"]
literal = true
mcp_config = ["/m.json", '{"mcpServers":{}}']
strict_mcp_config = false
max_output = "1MiB"
on_interrupt = "resume"
retries = 0
retry_on = ["network", "unknown"]
effort = "low"
fallback_model = "haiku,sonnet"
system_prompt = "You are terse."
agent = "reviewer"
agents = {reviewer = {description = "reviews", prompt = "Review."}}
tools = ["Read"]
settings = "~/s.json"
setting_sources = ["user"]
plugin_dirs = ["~/plugin"]
betas = ["x"]
env = {KEY = "hush"}
priority = -7
group = "night"
hold = true
start_at = "2h"
workdir_mode = "exclusive"
site = "lab"
with_cctask = true
notify = "tell"
stall_timeout = "90s"

[policy]
allowed_dirs = ["~/", "/srv"]
max_permission_mode = "acceptEdits"
allow_skip_permissions = false
allowed_models = ["haiku", "sonnet"]
allowed_sites = ["lab"]
max_timeout = 3600
max_budget_usd = 2
extra_args = ["--settings=/s.json"]
max_depth = 0
max_live_descendants = 5
max_descendants = 50

[notify]
command = "tell"
webhook = "https://example.com/hook"
webhook_headers = ["Authorization: Bearer ${CCTASK_NOTIFY_TOKEN}"]
desktop = true
on = ["failed", "timeout"]

[retry]
attempts = 2
base = "1s"

[retry.network]
attempts = 0
max = "1h"

[sites.lab]
kind = "ssh"
hosts = ["build1:8", "me@gpu1"]
dir = "~/tasks"
claude = "~/.local/bin/claude"
program = "/opt/cctask"
env = ["GIT_*"]
caller_env = ["VAULT_ADDR"]

[sites.pod]
kind = "pipe"
pipe = ["kubectl", "exec", "-i", "pod", "--", "sh"]
slots = 3
`

func TestSettingsFile(t *testing.T) {
	t.Parallel()
	a, file := withConfig(t, everything, map[string]string{"CCTASK_JOBS": "4"})
	a.Flags = Flags{"idle": "2h"}
	home := a.Getenv("HOME")
	s, err := a.Load()
	if err != nil {
		t.Fatal(err)
	}
	if s.Dir != home+"/state" || s.Claude.Text != "/bin/sh" || !s.Embedded || s.Owner.Jobs != 4 || s.Owner.LogLevel != "debug" ||
		s.Owner.KeepAge != 7*24*time.Hour || s.Owner.KeepCount != 10 || s.Owner.KeepSize != 10<<30 || s.Owner.Idle != "2h0m0s" || s.Owner.Config != file {
		t.Errorf("%+v", s)
	}
	no, none, five, fifty := false, 0, 5, 50
	p := task.Policy{
		AllowedDirs: []string{home, "/srv"}, MaxPermissionMode: "acceptEdits", AllowSkipPermissions: &no, AllowedModels: []string{"haiku", "sonnet"}, AllowedSites: []string{"lab"},
		MaxTimeoutSeconds: 3600, MaxBudgetUSD: 2, MaxDepth: &none, MaxLiveDescendants: &five, MaxDescendants: &fifty, ExtraArgs: []string{"--settings=/s.json"},
	}
	if !reflect.DeepEqual(s.File.Policy, p) {
		t.Errorf("policy %+v", s.File.Policy)
	}
	n := task.Notify{
		Command: "tell", Webhook: "https://example.com/hook", Headers: []string{"Authorization: Bearer ${CCTASK_NOTIFY_TOKEN}"}, Desktop: true, On: []string{"failed", "timeout"},
	}
	if !reflect.DeepEqual(s.File.Notify, n) {
		t.Errorf("notify %+v", s.File.Notify)
	}
	two, none := 2, 0
	if want := (task.RetryPolicy{"": {Attempts: &two, BaseSeconds: 1}, task.ReasonNetwork: {Attempts: &none, MaxSeconds: 3600}}); !reflect.DeepEqual(s.File.Retry, want) {
		t.Errorf("retry %+v", s.File.Retry)
	}
	spec := s.File.Defaults.Spec
	stall := 90.0
	want := task.Spec{
		StallTimeout: &stall, Model: "haiku", Labels: []string{"a", "b"}, TimeoutSeconds: 1800, SkipPermissions: &no, PermissionMode: "plan", AllowedTools: []string{"Read"},
		DisallowedTools: []string{"Bash"}, AppendSystemPrompt: "be brief", MaxTurns: 5, MaxBudgetUSD: 1.5, JSONSchema: []byte(`{"type":"object"}`),
		AddDirs: []string{home + "/lib"}, Literal: true, MCPConfig: []string{"/m.json", `{"mcpServers":{}}`}, StrictMCPConfig: &no, MaxOutput: 1 << 20, OnInterrupt: "resume", Retries: new(int), RetryOn: []string{"network", "unknown"},
		Effort: "low", FallbackModel: "haiku,sonnet", SystemPrompt: "You are terse.", Agent: "reviewer", Agents: []byte(`{"reviewer":{"description":"reviews","prompt":"Review."}}`),
		Tools: []string{"Read"}, Settings: home + "/s.json", SettingSources: []string{"user"}, PluginDirs: []string{home + "/plugin"}, Betas: []string{"x"}, Env: map[string]string{"KEY": "hush"},
		Priority: -7, Group: "night", Hold: true, StartAt: "2h", WorkdirMode: task.DirExclusive, Site: "lab", Notify: "tell", WithCCTask: true,
	}
	if !reflect.DeepEqual(spec, want) {
		t.Errorf("\n got %+v\nwant %+v", spec, want)
	}
	rows := map[string]Row{}
	for _, r := range s.Explain() {
		rows[r.Name] = r
	}
	for _, want := range []Row{
		{"config", "$XDG_CONFIG_HOME/cctask/config.toml or ~/.config/cctask/config.toml", "default"},
		{"jobs", "4", "CCTASK_JOBS"},
		{"idle", "2h", "--idle"},
		{"keep-age", "7d", file + ":8:1: keep_age"},
		{"defaults.model", "haiku", file + ":14:1"},
		{"policy.max_timeout", "3600", file + ":60:1"},
		{"defaults.env", "[KEY]", file + ":43:1"},
	} {
		if rows[want.Name] != want {
			t.Errorf("%+v, want %+v", rows[want.Name], want)
		}
	}
}

// TestEverySettingHasItsFaces breaks when a setting comes without its flag, its
// variable, its key, its line in README or its row in doctor.
func TestEverySettingHasItsFaces(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile(filepath.Join("..", "..", "..", "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	a, _ := withConfig(t, everything, nil)
	s, err := a.Load()
	if err != nil {
		t.Fatal(err)
	}
	defaults := task.Names(task.Options, true) // a new one needs its line in everything
	if rows := s.Explain(); len(rows) != len(settingTable)+len(defaults)+len(task.Rules)+len(task.NotifyRows)+2*2+len(task.SiteRows)+1 || len(task.RetryRows) != 3 || len(settingTable) != 11 || len(task.Options) < 32 || len(task.Rules) != 11 || len(task.NotifyRows) != 5 {
		t.Errorf("%d rows, %d settings, %d options, %d rules", len(rows), len(settingTable), len(task.Options), len(task.Rules))
	}
	for _, o := range settingTable {
		flags := pflag.NewFlagSet("", pflag.ContinueOnError)
		Flags{}.Register(flags, o.daemon)
		if f := flags.Lookup(o.name); f == nil || !strings.Contains(f.Usage, o.variable) || !strings.Contains(f.Usage, o.def) {
			t.Errorf("--%s: %+v", o.name, f)
		}
		if _, in := s.File.settings[o.name]; in == o.notInFile {
			t.Errorf("%s: in the settings file is %v", o.key(), in)
		}
		for _, face := range []string{"`--" + o.name + "`", "`" + o.variable + "`"} {
			if !strings.Contains(string(readme), face) {
				t.Errorf("README has no %s", face)
			}
		}
	}
	for _, o := range task.SiteRows {
		if !strings.Contains(string(readme), "`"+o.Name+"`") {
			t.Errorf("README has no %s", o.Name)
		}
	}
	for _, o := range task.Rules {
		if !strings.Contains(string(readme), "`"+o.Name+"`") {
			t.Errorf("README has no %s", o.Name)
		}
	}
	a = from(map[string]string{"HOME": "/home/u"})
	if s, err = a.Load(); err != nil || len(s.Explain()) != len(settingTable) {
		t.Errorf("without a file: %+v, %v", s.Explain(), err)
	}
}

func TestFaultsInSettingsFile(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"\njobs = 2000":                         `:2:1: jobs: "2000" is not a number from 1 to 1000`,
		"job = 2":                               `:1:1: "job" is no key here; there are dir, claude, jobs, `,
		"config = '/x'":                         `:1:1: "config" is no key here`,
		"jobs = [1]":                            `:1:1: jobs: "[1]" is not`,
		"dir = 'state'":                         `:1:1: dir: "state" is not an absolute path`,
		"claude = './claude'":                   `is not an absolute path`,
		"dir = 5":                               `"5" is not an absolute path`,
		"jobs = 1\njobs = 2":                    `:2:`,
		"jobs = ":                               `:1:`,
		"log_level = 'loud'":                    `"loud" is not debug, info, warn or error`,
		"[defaults]\n  modell = 'haiku'":        `:2:3: "defaults.modell" is no key here; there are model, skip_permissions, `,
		"[defaults]\nname = 'x'":                `:2:1: "defaults.name" is no key`,
		"[defaults]\nmodel = '--x y'":           `:2:1: model: "--x y" is not a model name`,
		"[defaults]\nmodel = 3":                 `:2:1: model: given 3, allowed is a string`,
		"[defaults]\ntimeout = 'soon'":          `:2:1: timeout: given "soon", allowed is seconds`,
		"[defaults]\nmax_turns = 1.5":           `max_turns: given 1.5, allowed is a whole number`,
		"[defaults]\nadd_dirs = ['lib']":        `add_dirs: given [lib], allowed are absolute paths`,
		"[defaults]\nlabels = [1]":              `labels: given [1], allowed is a list of 1 to 32 items, each a string`,
		"[defaults.model]\ntype = 'x'":          `:1:2: model: given {"type":"x"}, allowed is a string`,
		"[policy.allowed_dirs]\nx = 1":          `:1:2: allowed_dirs: given {"x":1}, allowed is a list`,
		"[retry]\nattempt = 1":                  `:2:1: "retry.attempt" is no key here; there are attempts, base, max`,
		"[retry]\nattempts = -1":                `:2:1: attempts: given -1, allowed is a whole number from 0 to 100`,
		"[retry.auth]\nattempts = 1":            `:1:2: "auth" is no reason to try again here`,
		"[retry.network]\nbase = 'soon'":        `:1:2: base: given "soon", allowed is seconds`,
		"[Defaults]\nmodel = 'haiku'":           `:1:2: "Defaults" is no table here; there are defaults, policy`,
		"defaults = 3":                          `:1:1: defaults must be a table`,
		"defaults.modle = 3":                    `:1:1: "defaults.modle" is no key here`,
		"jobs.x = 3":                            `:1:1: "jobs.x" is no table here`,
		"[[policy]]\nmax_timeout = 1":           `:1:3: policy must be a table`,
		"[polcy]":                               `:1:2: "polcy" is no table here`,
		"policy.max_tmeout = 3":                 `:1:1: "policy.max_tmeout" is no key here; there are allowed_dirs, `,
		"policy = {max_timeout = -1}":           `:1:11: max_timeout: given -1, allowed is seconds`,
		"[policy]\nmax_permission_mode = 'god'": `:2:1: max_permission_mode: given "god", allowed is one of default, `,
		"[policy]\nallowed_dirs = ['x']":        `:2:1: allowed_dirs: given [x], allowed are absolute paths`,
		"[policy]\nextra_args = ['--resume=x']": `"--resume=x" cannot be added`,
		"[policy]\nextra_args = ['x']":          `"x" cannot be added`,
		"[policy]\nmax_budget_usd = nan":        `:2:1: max_budget_usd: given NaN, allowed is a number`,
		"[policy]\nallowed_dirs = []":           `:2:1: allowed_dirs is empty and would bound nothing`,
		"[policy]\nallowed_models = []":         `:2:1: allowed_models is empty`,
		"[policy]\nmax_permission_mode = ''":    `:2:1: max_permission_mode is empty`,
		"[policy]\nmax_budget_usd = 0":          `:2:1: max_budget_usd is empty`,
		"[policy]\nmax_timeout = '0s'":          `:2:1: max_timeout is empty`,
		"[policy]\na.b = 1":                     `:2:1: "policy.a" is no key here`,
		"[sites.a]\nkind = 'ssh'":               `[sites.a]: hosts: are what a site of kind ssh has`,
		"[sites.a]\nkind = 'shh'":               `:2:1: kind: given "shh", allowed is one of ssh, pipe`,
		"[sites.a]\nhost = 'x'":                 `:2:1: "sites.a.host" is no key here; there are kind, hosts, `,
		"sites.a.slot = 3":                      `:1:1: "sites.a.slot" is no key here`,
		"sites = 3":                             `:1:1: sites must be a table`,
		"[sites]\nkind = 'ssh'":                 `:2:8: `,
		"[sites.a]\nhosts = ['x']":              `[sites.a]: kind: is missing`,
		"[sites.'a/b']\nkind = 'ssh'":           `"a/b" is no site`,
		"[sites.a]\nkind='ssh'\nhosts=['x:y']":  `hosts: "x:y" does not end in a number of slots`,
		"[sites.a]\nkind='ssh'\nhosts=['-oP']":  `hosts: "-oP" is no host`,
		"[sites.a]\nkind='pipe'\nslots=2":       `[sites.a]: pipe: is what a site of kind pipe has`,
	} {
		a, file := withConfig(t, text, nil)
		_, err := a.Load()
		if !errors.Is(err, task.ErrInvalid) || !strings.Contains(err.Error(), file+":") || !strings.Contains(err.Error(), want) || !strings.Contains(task.HintOf(err), file) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Editors of Windows begin a file with a byte order mark and end lines with CRLF.
func TestSettingsFileOfWindows(t *testing.T) {
	t.Parallel()
	a, _ := withConfig(t, "\ufeffjobs = 2\r\nlog_level = 'debug'\r\n", nil)
	if s, err := a.Load(); err != nil || s.Owner.Jobs != 2 || s.Owner.LogLevel != "debug" {
		t.Errorf("%+v, %v", s.Owner, err)
	}
}

func TestWhichSettingsFile(t *testing.T) {
	t.Parallel()
	a, file := withConfig(t, "jobs = 2", nil)
	other := filepath.Join(t.TempDir(), "other.toml")
	if err := os.WriteFile(other, []byte("jobs = 5"), 0o600); err != nil {
		t.Fatal(err)
	}
	jobs := func(flags Flags, vars map[string]string) (int, error) {
		vars["HOME"] = a.Getenv("HOME")
		s, err := Source{from(vars).Getenv, flags}.Load()
		return s.Owner.Jobs, err
	}
	type vars = map[string]string
	for _, c := range []struct {
		flags Flags
		vars  vars
		want  int
	}{
		{nil, vars{}, 2},
		{nil, vars{"XDG_CONFIG_HOME": "relative"}, 2},
		{nil, vars{"XDG_CONFIG_HOME": filepath.Dir(other)}, 0},
		{nil, vars{"CCTASK_CONFIG": other}, 5},
		{Flags{"config": file}, vars{"CCTASK_CONFIG": other}, 2},
	} {
		if got, err := jobs(c.flags, c.vars); err != nil || got != c.want {
			t.Errorf("%v %v: %d, %v", c.flags, c.vars, got, err)
		}
	}
	if _, err := jobs(Flags{"config": other + "x"}, vars{}); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
		t.Errorf("a named file that is not there: %v", err)
	}
	// A link that leads nowhere is no missing file: a policy may be at its end.
	for _, link := range []string{file, filepath.Dir(file), filepath.Dir(filepath.Dir(file))} {
		if err := errors.Join(os.RemoveAll(link), os.Symlink("/nowhere", link)); err != nil {
			t.Fatal(err)
		}
		if _, err := jobs(nil, vars{}); !errors.Is(err, task.ErrInvalid) || task.HintOf(err) == "" {
			t.Errorf("%s leads nowhere: %v", link, err)
		}
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if _, err := jobs(nil, vars{}); err != nil {
			t.Errorf("without %s: %v", link, err)
		}
	}
}
