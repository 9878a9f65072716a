package mcp

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cctask/engine/task"
)

// checked is an answer about several tasks.
func checked(t *testing.T, m message) (v struct {
	Tasks []struct {
		ID      string  `json:"task_id"`
		Status  string  `json:"status"`
		Result  *string `json:"result"`
		Removed bool    `json:"removed"`
		Name    string  `json:"name"`
	}
	Next string
},
) {
	t.Helper()
	r := m.tool(t)
	if r.IsError || json.Unmarshal(r.Data, &v) != nil {
		t.Fatalf("got %s", m.raw)
	}
	return v
}

// One call waits for the end of all tasks, of any, or for the first failure.
func TestWaitForSeveral(t *testing.T) {
	for _, c := range []struct {
		until string
		ends  []task.Status // of the first tasks, one a second
		after time.Duration
		want  string // the statuses in the answer
	}{
		{"", []task.Status{task.Completed, task.Failed, task.Completed}, 3 * time.Second, "completed failed completed"},
		{"all", []task.Status{task.Completed, task.Completed}, 60 * time.Second, "completed completed running"},
		{"any", []task.Status{task.Completed}, time.Second, "completed running running"},
		{"first_failure", []task.Status{task.Completed, task.Timeout}, 2 * time.Second, "completed timeout running"},
		{"first_failure", []task.Status{task.Completed, task.Completed, task.Completed}, 3 * time.Second, "completed completed completed"},
	} {
		t.Run(fmt.Sprint(c.until, c.ends), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				p := newPeer(t, f)
				ids := []task.ID{f.seed(t), f.seed(t), f.seed(t)}
				args := fmt.Sprintf(`{"task_ids":["%s","%s","%s"],"wait_seconds":60,"until":%q}`, ids[0], ids[1], ids[2], c.until)
				start := time.Now()
				p.send(`{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"check_task_status","arguments":%s,"_meta":{"progressToken":"p"}}}`, args)
				for i, st := range c.ends {
					time.Sleep(time.Second)
					f.end(ids[i], st, fmt.Sprint("answer ", i))
				}
				m := p.next()
				for ; m.Method == "notifications/progress"; m = p.next() {
				}
				v := checked(t, m)
				var got []string
				for i, one := range v.Tasks {
					got = append(got, one.Status)
					if ended := task.Status(one.Status).Ended(); one.ID != string(ids[i]) || ended != (one.Result != nil) || ended && *one.Result != fmt.Sprint("answer ", i) {
						t.Errorf("task %d is %+v", i, one)
					}
				}
				if took := time.Since(start); strings.Join(got, " ") != c.want || took != c.after {
					t.Errorf("got %v after %v: %s", got, took, v.Next)
				}
			})
		})
	}
}

// A removed task does not hold up the others.
func TestWaitForSeveralOfWhichOneIsRemoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		p := newPeer(t, f)
		a, b := f.seed(t), f.seed(t)
		p.tool("1", "check_task_status", fmt.Sprintf(`{"task_ids":["%s","%s"],"wait_seconds":60}`, a, b))
		synctest.Wait()
		if err := f.Remove(t.Context(), string(a), true); err != nil {
			t.Fatal(err)
		}
		f.end(b, task.Completed, "done")
		if v := checked(t, p.next()); !v.Tasks[0].Removed || v.Tasks[1].Status != "completed" {
			t.Errorf("got %+v", v)
		}
	})
}

func TestSeveralByLabel(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	for i := range 3 {
		p.tool("9", "start_cc_task_async", fmt.Sprintf(`{"prompt":"x","labels":["%s"]}`, []string{"night", "day", "night"}[i]))
		p.next()
	}
	p.tool("1", "check_task_status", `{"label":"night"}`)
	if v := checked(t, p.next()); len(v.Tasks) != 2 || !strings.HasPrefix(v.Next, "0 of 2 have ended") {
		t.Errorf("got %+v", v)
	}
	p.tool("2", "check_task_status", `{"label":"noon"}`)
	if r := p.next().tool(t); !r.IsError || !strings.HasPrefix(r.Content[0].Text, "not_found: no task has the label") {
		t.Errorf("got %q", r.Content[0].Text)
	}
	for _, args := range []string{`{}`, `{"task_id":"x","label":"night"}`, `{"task_ids":["x"],"label":"night"}`, `{"task_ids":[]}`} {
		p.tool("3", "check_task_status", args)
		if r := p.next().tool(t); !r.IsError || !strings.HasPrefix(r.Content[0].Text, "invalid") {
			t.Errorf("%s: got %q", args, r.Content[0].Text)
		}
	}
}

// However many tasks and however long their answers: one answer has room for all, and
// tells what it has cut.
func TestSeveralFit(t *testing.T) {
	long := strings.Repeat("a long answer ", 10_000)
	for _, n := range []int{1, 3, 30, maxChecked} {
		tasks := make([]task.Task, n)
		for i := range tasks {
			tasks[i] = task.Task{ID: fakeID(i), Status: task.Failed, Reason: task.ReasonProcessFailed, Message: long, Result: &long, ResultBytes: int64(len(long))}
			tasks[i].Spec.Name = strings.Repeat("n", 128)
		}
		v := several(tasks)
		if size := jsonSize(v); size > maxResult {
			t.Errorf("%d tasks: %d characters", n, size)
		}
		if n <= 30 && (v.Tasks[n-1].Result == nil || !strings.Contains(*v.Tasks[n-1].Result, "are left out")) {
			t.Errorf("%d tasks: the last one's answer is %v", n, v.Tasks[n-1].Result)
		}
		if v.Tasks[n-1].Status != task.Failed {
			t.Errorf("%d tasks: the last one is %+v", n, v.Tasks[n-1])
		}
	}
}

// Several tasks in one call: each with its own arguments over those beside tasks, all
// under one key; a fault in one of them names it, and starts none.
func TestStartSeveral(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	call := `{"model":"opus","labels":["night"],"idempotency_key":"k","tasks":[{"prompt":"build","name":"b"},{"prompt":"ship","model":"haiku","options":{"after":["b"],"priority":3}},{"prompt":"more"}]}`
	p.tool("1", "start_cc_task_async", call)
	m := p.next()
	v := checked(t, m)
	if len(v.Tasks) != 3 || v.Tasks[0].Name != "b" || v.Tasks[0].ID == "" || v.Tasks[0].Status != "" {
		t.Fatalf("got %+v", v)
	}
	if text := m.tool(t).Content[0].Text; !strings.HasPrefix(text, string(v.Tasks[0].ID)+" (b)\n"+string(v.Tasks[1].ID)+"\n") {
		t.Errorf("as text: %q", text)
	}
	for i, want := range []struct {
		model    string
		after    int
		priority int
	}{{"opus", 0, 0}, {"haiku", 1, 3}, {"opus", 0, 0}} {
		if s := f.subs[i].Spec; s.Model != want.model || len(s.After) != want.after || s.Priority != want.priority || s.Labels[0] != "night" {
			t.Errorf("task %d is %+v", i+1, s)
		}
	}
	p.tool("2", "start_cc_task_async", call)
	if again := checked(t, p.next()); again.Tasks[2].ID != v.Tasks[2].ID {
		t.Errorf("the same key gave %v and %v", again.Tasks[2].ID, v.Tasks[2].ID)
	}
	n := len(f.subs)
	many := strings.Repeat(`{"prompt":"x"},`, maxTasks) + `{"prompt":"x"}`
	for args, want := range map[string]string{
		`{}`:                                 "prompt: missing, required is that, or tasks",
		`{"tasks":[]}`:                       "tasks: given [], allowed is a list of 1 to 200 objects",
		`{"tasks":["x"]}`:                    "allowed is a list of 1 to 200 objects",
		`{"tasks":[` + many + `]}`:           "allowed is a list of 1 to 200 objects",
		`{"prompt":"x","tasks":[{}]}`:        "prompt: stands beside tasks",
		`{"tasks":[{"prompt":"x"},{}]}`:      "task 2 of tasks: prompt: missing",
		`{"tasks":[{"prompt":"x","nme":1}]}`: "task 1 of tasks: nme: no such argument, the nearest is name",
		`{"tasks":[{"prompt":"x","idempotency_key":"k"}]}`: "task 1 of tasks: idempotency_key: no such argument",
	} {
		p.tool("3", "start_cc_task_async", args)
		if r := p.next().tool(t); !r.IsError || !strings.Contains(r.Content[0].Text, want) {
			t.Errorf("%.60s: got %q", args, r.Content[0].Text)
		}
	}
	p.tool("4", "execute_cc_task", `{"tasks":[{"prompt":"x"}]}`)
	if r := p.next().tool(t); !r.IsError || !strings.Contains(r.Content[0].Text, "start_cc_task_async") {
		t.Errorf("execute_cc_task with tasks: %q", r.Content[0].Text)
	}
	if len(f.subs) != n {
		t.Errorf("%d tasks were started", len(f.subs)-n)
	}
}

// A wrong choice of tasks is named, and a task that is named twice is one.
func TestSeveralByMistake(t *testing.T) {
	f := newFake()
	p := newPeer(t, f)
	p.tool("1", "start_cc_task_async", `{"tasks":[{"prompt":"a"},{"prompt":"b"}]}`)
	ids := checked(t, p.next()).Tasks
	for args, want := range map[string]string{
		`{"task_ids":["x"],"label":"night"}`: "label: stands beside task_ids",
		`{"task_ids":[]}`:                    "task_ids that name a task",
	} {
		p.tool("2", "check_task_status", args)
		if r := p.next().tool(t); !r.IsError || !strings.Contains(r.Content[0].Text, want) {
			t.Errorf("%s: got %q", args, r.Content[0].Text)
		}
	}
	p.tool("3", "check_task_status", fmt.Sprintf(`{"task_ids":["%s","%s","%s"]}`, ids[0].ID, ids[1].ID, ids[0].ID))
	if v := checked(t, p.next()); len(v.Tasks) != 2 || v.Tasks[1].ID != ids[1].ID || !strings.HasPrefix(v.Next, "0 of 2 have ended") {
		t.Errorf("got %+v", v)
	}
}

// A list says of what waits why it does.
func TestListSaysWhyATaskWaits(t *testing.T) {
	one := task.Task{ID: fakeID(1), Status: task.Queued, Waiting: task.Waiting{For: task.WaitHeld}}
	v := listOf(task.Page{Tasks: []task.Task{one}}, false, "")
	if text := v.text(); v.Tasks[0].WaitingFor != task.WaitHeld || !strings.Contains(text, "queued · held") {
		t.Errorf("got %q", text)
	}
}
