package task

import (
	"errors"
	"reflect"
	"strings"
	"testing"
)

func TestPolicy(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	dirs := Policy{AllowedDirs: []string{"/a/b", "/c"}}
	edits := Policy{MaxPermissionMode: "acceptEdits"}
	noSkip := Policy{AllowSkipPermissions: &no}
	for _, c := range []struct {
		name   string
		policy Policy
		spec   Spec
		want   Spec
		rule   string // that refuses it
	}{
		{name: "nothing", spec: Spec{WorkingDir: "/"}, want: Spec{WorkingDir: "/"}},
		{name: "the directory itself", policy: dirs, spec: Spec{WorkingDir: "/a/b"}, want: Spec{WorkingDir: "/a/b"}},
		{name: "below", policy: dirs, spec: Spec{WorkingDir: "/c/d", AddDirs: []string{"/a/b/x"}}, want: Spec{WorkingDir: "/c/d", AddDirs: []string{"/a/b/x"}}},
		{name: "above", policy: dirs, spec: Spec{WorkingDir: "/a"}, rule: "allowed_dirs"},
		{name: "beside, with the same beginning", policy: dirs, spec: Spec{WorkingDir: "/a/bc"}, rule: "allowed_dirs"},
		{name: "a further one outside", policy: dirs, spec: Spec{WorkingDir: "/c", AddDirs: []string{"/c/d", "/d"}}, rule: "allowed_dirs"},
		{name: "a name that begins with dots", policy: dirs, spec: Spec{WorkingDir: "/c/..d"}, want: Spec{WorkingDir: "/c/..d"}},
		{name: "no model", policy: Policy{AllowedModels: []string{"haiku", "opus"}}, want: Spec{Model: "haiku"}},
		{name: "an allowed model", policy: Policy{AllowedModels: []string{"haiku", "opus"}}, spec: Spec{Model: "opus"}, want: Spec{Model: "opus"}},
		{name: "another model", policy: Policy{AllowedModels: []string{"haiku"}}, spec: Spec{Model: "opus"}, rule: "allowed_models"},
		{name: "no timeout", policy: Policy{MaxTimeoutSeconds: 60}, want: Spec{TimeoutSeconds: 60}},
		{name: "a shorter timeout", policy: Policy{MaxTimeoutSeconds: 60}, spec: Spec{TimeoutSeconds: 5}, want: Spec{TimeoutSeconds: 5}},
		{name: "a longer timeout", policy: Policy{MaxTimeoutSeconds: 60}, spec: Spec{TimeoutSeconds: 60.1}, rule: "max_timeout"},
		{name: "no budget", policy: Policy{MaxBudgetUSD: 2}, want: Spec{MaxBudgetUSD: 2}},
		{name: "a larger budget", policy: Policy{MaxBudgetUSD: 2}, spec: Spec{MaxBudgetUSD: 2.5}, rule: "max_budget_usd"},

		{name: "no mode under a highest one", policy: edits, want: Spec{PermissionMode: "acceptEdits", SkipPermissions: &no}},
		{name: "a restricted task is not widened", policy: edits, spec: Spec{AllowedTools: []string{"Read"}}, want: Spec{AllowedTools: []string{"Read"}, PermissionMode: "default", SkipPermissions: &no}},
		{name: "nor one that does not skip", policy: edits, spec: Spec{SkipPermissions: &no}, want: Spec{PermissionMode: "default", SkipPermissions: &no}},
		{name: "but narrowed", policy: Policy{MaxPermissionMode: "plan"}, spec: Spec{SkipPermissions: &no}, want: Spec{PermissionMode: "plan", SkipPermissions: &no}},
		{name: "a lower mode", policy: edits, spec: Spec{PermissionMode: "plan"}, want: Spec{PermissionMode: "plan"}},
		{name: "a mode of the same rank", policy: Policy{MaxPermissionMode: "default"}, spec: Spec{PermissionMode: "dontAsk"}, want: Spec{PermissionMode: "dontAsk"}},
		{name: "a higher mode", policy: edits, spec: Spec{PermissionMode: "auto"}, rule: "max_permission_mode"},
		{name: "skipping under a highest mode", policy: edits, spec: Spec{SkipPermissions: &yes}, rule: "max_permission_mode"},
		{name: "skipping by its mode", policy: edits, spec: Spec{PermissionMode: bypass}, rule: "max_permission_mode"},
		{name: "the highest of all", policy: Policy{MaxPermissionMode: bypass}},

		{name: "skipping by default", policy: noSkip, want: Spec{PermissionMode: "default", SkipPermissions: &no}},
		{name: "skipping", policy: noSkip, spec: Spec{SkipPermissions: &yes}, rule: "allow_skip_permissions"},
		{name: "skipping by its mode", policy: noSkip, spec: Spec{PermissionMode: bypass}, rule: "allow_skip_permissions"},
		{name: "skipping by its mode, without a word", policy: noSkip, spec: Spec{PermissionMode: bypass, SkipPermissions: &no}, rule: "allow_skip_permissions"},
		{name: "any other mode", policy: noSkip, spec: Spec{PermissionMode: "auto"}, want: Spec{PermissionMode: "auto"}},
		{name: "both rules", policy: Policy{MaxPermissionMode: "auto", AllowSkipPermissions: &no}, want: Spec{PermissionMode: "auto", SkipPermissions: &no}},
		{name: "skipping is allowed", policy: Policy{AllowSkipPermissions: &yes}, spec: Spec{SkipPermissions: &yes}, want: Spec{SkipPermissions: &yes}},
	} {
		got, err := c.policy.Apply(c.spec)
		if c.rule != "" {
			if !errors.Is(err, ErrPolicy) || !strings.HasPrefix(err.Error(), "policy."+c.rule+": ") || HintOf(err) == "" {
				t.Errorf("%s: %v, want policy.%s", c.name, err, c.rule)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v\n got %+v\nwant %+v", c.name, err, got, c.want)
		}
		// What a policy has let through it lets through again, unchanged.
		if again, err := c.policy.Apply(got); err != nil || !reflect.DeepEqual(again, got) {
			t.Errorf("%s, once more: %+v, %v", c.name, again, err)
		}
	}
	if len(modeRank) != len(PermissionModes) {
		t.Errorf("%d modes have a rank, there are %d", len(modeRank), len(PermissionModes))
	}
}

func TestPolicyAnd(t *testing.T) {
	no, yes := false, true
	for name, c := range map[string]struct{ owner, front, want Policy }{
		"none":                 {Policy{}, Policy{}, Policy{}},
		"the owner's alone":    {Policy{MaxBudgetUSD: 1, ExtraArgs: []string{"-a"}}, Policy{}, Policy{MaxBudgetUSD: 1, ExtraArgs: []string{"-a"}}},
		"the front's alone":    {Policy{}, Policy{AllowedModels: []string{"haiku"}, MaxPermissionMode: "plan"}, Policy{AllowedModels: []string{"haiku"}, MaxPermissionMode: "plan"}},
		"the same twice":       {Policy{AllowedDirs: []string{"/a"}, ExtraArgs: []string{"-a"}}, Policy{AllowedDirs: []string{"/a"}, ExtraArgs: []string{"-a"}}, Policy{AllowedDirs: []string{"/a"}, ExtraArgs: []string{"-a"}}},
		"lower bounds":         {Policy{MaxTimeoutSeconds: 60, MaxBudgetUSD: 1}, Policy{MaxTimeoutSeconds: 30, MaxBudgetUSD: 2}, Policy{MaxTimeoutSeconds: 30, MaxBudgetUSD: 1}},
		"lower mode":           {Policy{MaxPermissionMode: "acceptEdits"}, Policy{MaxPermissionMode: "plan"}, Policy{MaxPermissionMode: "plan"}},
		"the owner's is lower": {Policy{MaxPermissionMode: "plan"}, Policy{MaxPermissionMode: "auto"}, Policy{MaxPermissionMode: "plan"}},
		"skip":                 {Policy{AllowSkipPermissions: &yes}, Policy{AllowSkipPermissions: &no}, Policy{AllowSkipPermissions: &no}},
		"no skip":              {Policy{AllowSkipPermissions: &no}, Policy{AllowSkipPermissions: &yes}, Policy{AllowSkipPermissions: &no}},
		"models of both":       {Policy{AllowedModels: []string{"sonnet", "opus"}}, Policy{AllowedModels: []string{"haiku", "sonnet"}}, Policy{AllowedModels: []string{"sonnet"}}},
		"directories":          {Policy{AllowedDirs: []string{"/a", "/b/c", "/d"}}, Policy{AllowedDirs: []string{"/a/x", "/b", "/e"}}, Policy{AllowedDirs: []string{"/a/x", "/b/c"}}},
		"arguments":            {Policy{ExtraArgs: []string{"-a"}}, Policy{ExtraArgs: []string{"-b"}}, Policy{ExtraArgs: []string{"-b", "-a"}}},
	} {
		if got, err := c.owner.And(c.front); err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, %v, want %+v", name, got, err, c.want)
		}
	}
	for name, c := range map[string][2]Policy{
		"models":      {{AllowedModels: []string{"opus"}}, {AllowedModels: []string{"haiku"}}},
		"directories": {{AllowedDirs: []string{"/a"}}, {AllowedDirs: []string{"/ab"}}},
	} {
		if got, err := c[0].And(c[1]); !errors.Is(err, ErrPolicy) || HintOf(err) == "" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
}
