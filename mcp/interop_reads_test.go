package mcp

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
	sdk "github.com/modelcontextprotocol/go-sdk/mcp"

	"cctask/engine/task"
)

// The SDK's own client reads in both eras: resources and what becomes of them,
// completion, prompts.
func TestGoSDKClientReads(t *testing.T) {
	for _, version := range []string{"2024-11-05", "2025-03-26", "2025-06-18", "2025-11-25", "2026-07-28"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel() // an update takes a second
			f := newFake()
			id := f.seed(t)
			in, out, served := serve(context.Background(), t, New(Config{Service: f, Version: "1.2.3", Defaults: defaults}))
			updated := make(chan string, 100)
			client := sdk.NewClient(&sdk.Implementation{Name: "test", Version: "1"}, &sdk.ClientOptions{
				ResourceUpdatedHandler: func(_ context.Context, r *sdk.ResourceUpdatedNotificationRequest) { updated <- r.Params.URI },
			})
			session, err := client.Connect(t.Context(), &sdk.IOTransport{Reader: out, Writer: in}, &sdk.ClientSessionOptions{ProtocolVersion: version})
			if err != nil {
				t.Fatal(err)
			}
			driveResources(t, session, id, version)
			drivePrompts(t, session, id)
			driveUpdates(t, f, session, id, updated)
			if err := session.Close(); err != nil {
				t.Error(err)
			}
			if err := <-served; err != nil {
				t.Error(err)
			}
		})
	}
}

func driveResources(t *testing.T, session *sdk.ClientSession, id task.ID, version string) {
	t.Helper()
	list, err := session.ListResources(t.Context(), nil)
	if err != nil || len(list.Resources) != 2 {
		t.Errorf("resources: %+v, %v", list, err)
	}
	templates, err := session.ListResourceTemplates(t.Context(), nil)
	if err != nil || !slices.ContainsFunc(templates.ResourceTemplates, func(r *sdk.ResourceTemplate) bool { return r.URITemplate == "task://{id}" }) {
		t.Errorf("templates: %+v, %v", templates, err)
	}
	read, err := session.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "task://" + string(id)})
	if err != nil || !strings.Contains(read.Contents[0].Text, string(id)) {
		t.Errorf("read %+v, %v", read, err)
	}
	want := int64(codeNotFoundLegacy)
	if version == "2026-07-28" {
		want = jsonrpc.CodeInvalidParams
	}
	_, err = session.ReadResource(t.Context(), &sdk.ReadResourceParams{URI: "task://nobody"})
	if fault := new(jsonrpc.Error); !errors.As(err, &fault) || fault.Code != want {
		t.Errorf("what is not there: %v, want code %d", err, want)
	}
	done, err := session.Complete(t.Context(), &sdk.CompleteParams{
		Ref:      &sdk.CompleteReference{Type: "ref/resource", URI: "task://{id}"},
		Argument: sdk.CompleteParamsArgument{Name: "id", Value: string(id)[:6]},
	})
	if err != nil || !slices.Contains(done.Completion.Values, string(id)) {
		t.Errorf("completed to %+v, %v", done, err)
	}
}

const codeNotFoundLegacy = -32002

func drivePrompts(t *testing.T, session *sdk.ClientSession, id task.ID) {
	t.Helper()
	list, err := session.ListPrompts(t.Context(), nil)
	if err != nil || len(list.Prompts) != len(prompts) {
		t.Errorf("prompts: %+v, %v", list, err)
	}
	got, err := session.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: "resume_task", Arguments: map[string]string{"task_id": string(id)}})
	if err != nil || !strings.Contains(got.Messages[0].Content.(*sdk.TextContent).Text, string(id)) {
		t.Errorf("prompt: %+v, %v", got, err)
	}
	if _, err := session.GetPrompt(t.Context(), &sdk.GetPromptParams{Name: "resume_task"}); err == nil {
		t.Error("a prompt without its argument")
	}
}

func driveUpdates(t *testing.T, f *fake, session *sdk.ClientSession, id task.ID, updated <-chan string) {
	t.Helper()
	uri := "task://" + string(id)
	if err := session.Subscribe(t.Context(), &sdk.SubscribeParams{URI: uri}); err != nil {
		t.Fatal(err)
	}
	// In the modern era Subscribe returns before the server has been asked.
	for deadline := time.Now().Add(hang); ; f.change(id, func(t *task.Task) { t.StdoutBytes++ }) {
		select {
		case got := <-updated:
			if got != uri {
				t.Errorf("told of %s", got)
			}
		case <-time.After(50 * time.Millisecond):
			if time.Now().Before(deadline) {
				continue
			}
			t.Error("not told of a change")
		}
		break
	}
	if err := session.Unsubscribe(t.Context(), &sdk.UnsubscribeParams{URI: uri}); err != nil {
		t.Error(err)
	}
}
