package cli

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/spf13/cobra"

	"cctask/engine/task"
	"cctask/internal/testkit/cctest"
)

// withConfig is a front whose settings file, at the usual place, holds text.
func withConfig(t *testing.T, text string, vars map[string]string) (_ *app, file string) {
	t.Helper()
	all, file := cctest.Config(t, text, vars)
	return &app{Env: envOf(all)}, file
}

// An option that is given wins over a default, also over one that it contradicts.
func TestDefaultsGiveWay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ defaults, flags, want string }{
		{`model = "haiku"`, "--model=opus", `{"model":"opus"}`},
		{`timeout = 5`, "--timeout=0", `{}`},
		{`permission_mode = "plan"` + "\n" + `allowed_tools = ["Read"]`, "--skip-permissions", `{"skip_permissions":true}`},
		{`skip_permissions = true`, "--permission-mode=plan", `{"permission_mode":"plan"}`},
		{`skip_permissions = false`, "--permission-mode=plan", `{"skip_permissions":false,"permission_mode":"plan"}`},
		{`labels = ["a"]`, "--label=b", `{"labels":["b"]}`},
	} {
		a, _ := withConfig(t, "[defaults]\n"+c.defaults, nil)
		s, err := a.settings()
		if err != nil {
			t.Fatal(err)
		}
		var f taskFlags
		cmd := &cobra.Command{}
		f.register(cmd)
		if err := cmd.ParseFlags([]string{c.flags}); err != nil {
			t.Fatal(err)
		}
		got, want := f.options.Over(s.File.Defaults).Spec, task.Spec{}
		if err := json.Unmarshal([]byte(c.want), &want); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%s, %s: %+v", c.defaults, c.flags, got)
		}
	}
}

func TestAnotherAttemptKeepsItsClaude(t *testing.T) {
	t.Parallel()
	a := &app{Env: envOf(map[string]string{"PATH": t.TempDir(), "HOME": "/home/u"})}
	if got, err := a.ofThisFront(); got.Claude != "" || err != nil {
		t.Errorf("nothing was named: %q, %v", got.Claude, err)
	}
}
