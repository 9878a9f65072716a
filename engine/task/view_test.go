package task

import (
	"encoding/json"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

var viewNow = time.Date(2026, 11, 1, 12, 0, 0, 0, time.UTC)

func viewTask() Task {
	code, result := 1, "partly"
	return Task{
		ID: NewID(viewNow), Status: Failed, Message: "claude said no", Reason: ReasonProcessFailed, Attempt: 2, Seq: 7,
		Spec: Spec{
			WorkingDir: "/w", Claude: "/bin/claude", Model: "opus", TimeoutSeconds: 9, Name: "n", Labels: []string{"l"},
			PermissionMode: "plan", AllowedTools: []string{"Bash(git *)"}, DisallowedTools: []string{"Write"},
			AppendSystemPrompt: "be brief", MaxTurns: 3, MaxBudgetUSD: 0.5, JSONSchema: json.RawMessage(`{"type":"object"}`),
			AddDirs: []string{"/x"}, MCPConfig: []string{"/m.json", `{"secret":"hush"}`}, ResumeTaskID: "r", Fork: true, OnInterrupt: "resume", Retries: new(int), RetryOn: []string{"network"}, Notify: "tell", WithCCTask: true,
			Priority: 1, Group: "g", Hold: true, StartAt: "2h", After: []string{"x:any"}, WorkdirMode: DirExclusive, Site: "s",
		},
		PromptBytes: 5, PromptHead: "hello", CreatedAt: viewNow, QueuedAt: viewNow, StartedAt: viewNow, FinishedAt: viewNow, RetryAt: viewNow,
		CancelRequested: true, StopReason: StopCancel, SessionID: "s", ExitCode: &code, Result: &result, ResultBytes: 6, StdoutBytes: 10, StderrBytes: 20,
		CostUSD: 0.25, CostUncertain: true, NumTurns: 4, DurationMS: 1500, Usage: Usage{InputTokens: 1},
		Worktree: &Worktree{Branch: "b"}, NotBefore: viewNow, Host: "h", Account: "a", ParentID: "p", RootID: "r", Depth: 1,
		QueuePosition: 3, Waiting: Waiting{For: WaitSlot}, Progress: &Progress{Turns: 1}, Match: &Match{Ref: "n", ID: "x", Count: 2},
	}
}

// inward names the fields of a record that are nobody's business outside. A
// new field of Task or Spec must get a place in View or a line here.
var inward = []string{
	"Seq", "RealDir", "Template", "Refs", "Policy", "Limits", "QueuedAt", "History", "Attempts", "Version", "Spec",
	"Spec.Literal", "Spec.MaxOutput", "Spec.StallTimeout",
	"Spec.StartAt", // NotBefore is the moment
	"Model",        // stands in for Spec.Model where that is empty: TestViewNamesTheModel
	// Shown as a part of the command.
	"Spec.Claude", "Spec.SkipPermissions", "Spec.PermissionMode", "Spec.AllowedTools", "Spec.DisallowedTools",
	"Spec.Effort", "Spec.FallbackModel", "Spec.SystemPrompt", "Spec.Agent", "Spec.Agents", "Spec.Tools", "Spec.Settings", "Spec.SettingSources",
	"Spec.PluginDirs", "Spec.Betas", "Spec.EnvNames",
	"Spec.Env", // in no record
	"Spec.AppendSystemPrompt", "Spec.MaxTurns", "Spec.MaxBudgetUSD", "Spec.JSONSchema", "Spec.AddDirs", "Spec.MCPConfig", "Spec.StrictMCPConfig",
}

func TestViewShowsEveryOutwardField(t *testing.T) {
	base := viewTask()
	for _, path := range fieldPaths() {
		if slices.Contains(inward, path) {
			continue
		}
		t.Run(path, func(t *testing.T) {
			changed := base
			v := reflect.ValueOf(&changed).Elem()
			if name, ok := strings.CutPrefix(path, "Spec."); ok {
				v = v.FieldByName("Spec").FieldByName(name)
			} else {
				v = v.FieldByName(path)
			}
			v.SetZero()
			if reflect.DeepEqual(NewView(base, viewNow), NewView(changed, viewNow)) {
				t.Errorf("a View does not show %s", path)
			}
		})
	}
}

func TestViewNamesTheModel(t *testing.T) {
	for _, c := range []struct{ asked, named, want string }{{"opus", "claude-opus-5-5", "opus"}, {"", "claude-opus-5-5", "claude-opus-5-5"}, {"", "", ""}} {
		if got := NewView(Task{Spec: Spec{Model: c.asked}, Model: c.named}, viewNow).Model; got != c.want {
			t.Errorf("asked for %q, claude named %q: shows %q", c.asked, c.named, got)
		}
	}
}

func fieldPaths() []string {
	var paths []string
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Task]()) {
		paths = append(paths, f.Name)
	}
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Spec]()) {
		paths = append(paths, "Spec."+f.Name)
	}
	return paths
}

func TestViewHasNoNullAndTheOriginalNames(t *testing.T) {
	for _, task := range []Task{{ID: NewID(viewNow), Status: Queued}, viewTask()} {
		data, err := json.Marshal(NewView(task, viewNow))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(data), "null") {
			t.Errorf("null in %s", data)
		}
	}
	data, _ := json.Marshal(NewView(viewTask(), viewNow))
	for _, name := range []string{"task_id", "status", "elapsed_seconds", "command", "working_dir", "result", "error"} {
		if !strings.Contains(string(data), `"`+name+`":`) {
			t.Errorf("no %s in %s", name, data)
		}
	}
}

func TestViewOfARunningTask(t *testing.T) {
	started := viewNow.Add(-90 * time.Second)
	task := Task{
		ID: NewID(viewNow), Status: Starting, Attempt: 1, CreatedAt: started, QueuedAt: started, StartedAt: started.Add(-time.Hour), DurationMS: 1000,
		History: []Change{{At: started.Add(-time.Hour), To: Running}, {At: started, To: Running}},
	}
	if v := NewView(task, viewNow); v.Status != Running || *v.DurationMS != 1000 {
		t.Errorf("starting is shown as %s after %d ms", v.Status, *v.DurationMS)
	}
	task.Status = Running
	v := NewView(task, viewNow)
	if *v.DurationMS != 91000 || *v.ElapsedSeconds != 91 {
		t.Errorf("duration %d ms, elapsed %v s; the running attempt counts from its own start", *v.DurationMS, *v.ElapsedSeconds)
	}
	if v.Error != "" || v.CostUSD != nil || !strings.Contains(v.Next, "wait_seconds") || v.PollAfterMS != 9000 {
		t.Errorf("unexpected %+v", v)
	}
	if v := NewView(task, started.Add(-time.Minute)); *v.DurationMS != 1000 {
		t.Errorf("a clock set back shows %d ms", *v.DurationMS)
	}
}

func TestViewOfEveryStatusSaysWhatIsNext(t *testing.T) {
	for _, s := range Statuses {
		v := NewView(Task{ID: NewID(viewNow), Status: s}, viewNow)
		if v.Next == "" {
			t.Errorf("%s: no next step", s)
		}
		if ended := v.PollAfterMS == 0; ended != s.Ended() {
			t.Errorf("%s: poll_after_ms %d", s, v.PollAfterMS)
		}
	}
}

// What cannot help is not proposed.
func TestNextStepOfEveryReason(t *testing.T) {
	const goOn, resume, retry = "resume_task_id 01", "`cctask resume 01", "`cctask retry 01"
	others := map[FailureReason][]string{
		ReasonSpawnFailed: {retry}, ReasonSessionLost: {retry}, ReasonPermissionRoot: {retry},
		ReasonContextOverflow: {}, ReasonPolicy: {}, ReasonModelNotFound: {}, ReasonMaxTurns: {}, ReasonMaxBudget: {},
	}
	for _, r := range Reasons {
		want, other := others[r]
		if !other {
			want = []string{goOn, resume, retry}
		}
		ended := Task{ID: NewID(viewNow), Status: Failed, Reason: r, Model: "opus"}
		next := NewView(ended, viewNow).Next
		for _, what := range []string{goOn, resume, retry} {
			if strings.Contains(next, what) != slices.Contains(want, what) {
				t.Errorf("%s: %s", r, next)
			}
		}
		if ended.Model = ""; strings.Contains(NewView(ended, viewNow).Next, goOn) {
			t.Errorf("%s: a session that was never begun is to go on: %s", r, next)
		}
		if !strings.HasPrefix(next, r.Hint()) {
			t.Errorf("%s: no hint in %q", r, next)
		}
	}
}

// A retry of a task that goes on with another one's session begins in that one too.
func TestNextStepWhereAnotherTasksSessionIsLost(t *testing.T) {
	lost := Task{ID: NewID(viewNow), Status: Failed, Reason: ReasonSessionLost, Spec: Spec{ResumeTaskID: "x"}}
	for _, said := range []string{NewView(lost, viewNow).Next, lost.Hint()} {
		if said != "claude no longer has this session: say in a new task's prompt what it needs to know." {
			t.Errorf("next: %s", said)
		}
	}
}

func TestCommandShowsOptionsButNoSecret(t *testing.T) {
	got := NewView(viewTask(), viewNow).Command
	want := `/bin/claude -p --model=opus --permission-mode=plan '--allowedTools=Bash(git *)' --disallowedTools=Write '--append-system-prompt=be brief' --max-turns=3 --max-budget-usd=0.5 '--json-schema={"type":"object"}' --add-dir=/x --mcp-config=/m.json '--mcp-config={…}' --strict-mcp-config`
	if got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestViewRoundsCosts(t *testing.T) {
	old := Task{ID: NewID(viewNow), Status: Completed, StartedAt: viewNow, CostUSD: 0.014000000000000002}
	if b, err := json.Marshal(NewView(old, viewNow)); err != nil || !strings.Contains(string(b), `"cost_usd":0.014,`) {
		t.Errorf("%s, %v", b, err)
	}
}
