package mcp

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"cctask/engine/task"
)

// The SDK's own client drives the server in both eras.
func TestGoSDKClient(t *testing.T) {
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			f := newFake()
			progress := make(chan string, 100)
			session := connect(t, f, version, progress)
			if got := session.InitializeResult().ProtocolVersion; got != version {
				t.Errorf("negotiated %s", got)
			}
			if session.InitializeResult().Instructions != instructions || session.InitializeResult().ServerInfo.Version != "1.2.3" {
				t.Errorf("initialized as %+v", session.InitializeResult())
			}
			list, err := session.ListTools(t.Context(), nil)
			if err != nil || len(list.Tools) != 5 {
				t.Fatalf("listed %v, %v", list, err)
			}
			driveTools(t, f, session, progress)
		})
	}
}

func connect(t *testing.T, f *fake, version string, progress chan<- string) *sdk.ClientSession {
	t.Helper()
	inW, outR, served := serve(context.Background(), t, New(Config{Service: f, Version: "1.2.3", Defaults: defaults}))
	session := dial(t, &sdk.IOTransport{Reader: outR, Writer: inW}, version, progress)
	t.Cleanup(func() {
		if err := session.Close(); err != nil {
			t.Error(err)
		}
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return session
}

func dial(t *testing.T, transport sdk.Transport, version string, progress chan<- string) *sdk.ClientSession {
	t.Helper()
	client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
		ProgressNotificationHandler: func(_ context.Context, r *sdk.ProgressNotificationClientRequest) { progress <- r.Params.Message },
	})
	session, err := client.Connect(t.Context(), transport, &sdk.ClientSessionOptions{ProtocolVersion: version})
	if err != nil {
		t.Fatal(err)
	}
	return session
}

func driveTools(t *testing.T, f *fake, session *sdk.ClientSession, progress <-chan string) {
	t.Helper()
	call := func(name string, args map[string]any) taskResult {
		t.Helper()
		params := &sdk.CallToolParams{Name: name, Arguments: args}
		if name == "execute_cc_task" {
			params.SetProgressToken("token")
		}
		res, err := session.CallTool(t.Context(), params)
		if err != nil || res.IsError {
			t.Fatalf("%s: %v, %+v", name, err, res)
		}
		data, err := json.Marshal(res.StructuredContent)
		if err != nil {
			t.Fatal(err)
		}
		valid(t, map[bool]string{true: "list.out.json", false: "task.out.json"}[name == "list_active_tasks"], data)
		var v taskResult
		if err := json.Unmarshal(data, &v); err != nil {
			t.Fatal(err)
		}
		return v
	}

	started := call("start_cc_task_async", map[string]any{"prompt": "one"})
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			if v := call("check_task_status", map[string]any{"task_id": started.TaskID, "wait_seconds": 60}); v.Status != task.Completed || *v.Result != "<first> & done" {
				t.Errorf("got %+v", v)
			}
		})
	}
	f.until(t, "ten calls wait", func() bool { return f.waiting == 10 })
	f.end(started.TaskID, task.Completed, "<first> & done")
	all.Wait()

	all.Go(func() {
		if v := call("execute_cc_task", map[string]any{"prompt": "two"}); v.Status != task.Failed || !strings.Contains(v.Error, "exit code 1") {
			t.Errorf("got %+v", v)
		}
	})
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	f.end(fakeID(2), task.Failed, "")
	all.Wait()
	select {
	case text := <-progress:
		if !strings.HasPrefix(text, "starting") {
			t.Errorf("progress %q", text)
		}
	case <-time.After(hang):
		t.Error("no progress")
	}

	ctx, cancel := context.WithCancel(t.Context())
	all.Go(func() {
		if _, err := session.CallTool(ctx, &sdk.CallToolParams{Name: "execute_cc_task", Arguments: map[string]any{"prompt": "three"}}); err == nil {
			t.Error("a cancelled call was answered")
		}
	})
	f.until(t, "the call waits", func() bool { return f.waiting == 1 })
	cancel()
	all.Wait()
	f.until(t, "the task is cancelled", func() bool { return f.tasks[fakeID(3)].Status == task.Cancelled })

	call("list_active_tasks", map[string]any{"include_finished": true})
	if v := call("cleanup_task", map[string]any{"task_id": started.TaskID}); v.Removed == nil || !*v.Removed {
		t.Errorf("got %+v", v)
	}
	res, err := session.CallTool(t.Context(), &sdk.CallToolParams{Name: "check_task_status", Arguments: map[string]any{"task_id": started.TaskID}})
	if err != nil || !res.IsError || !strings.Contains(fmt.Sprint(res.Content[0].(*sdk.TextContent).Text), "not_found") {
		t.Errorf("got %+v, %v", res, err)
	}
}
