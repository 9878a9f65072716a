package engine_test

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cctask/engine"
	"cctask/engine/task"
)

// herald tells the test.
type herald struct {
	task.Notify
	told func(ctx context.Context, c task.Channel, id string, body []byte) error
}

func (h *herald) Channels(t task.Task) []task.Channel { return h.Notify.Channels(t) }

func (h *herald) Tell(ctx context.Context, c task.Channel, _ task.Task, id string, body []byte) error {
	return h.told(ctx, c, id, body)
}

// told is what reached a channel.
type told struct {
	channel task.Channel
	id      string
	body    struct {
		Status task.Status `json:"status"`
		Task   task.View   `json:"task"`
	}
}

// telling is a world whose ends are told to the channel that it returns, unless fault says no.
func telling(t *testing.T, n task.Notify, fault func(task.Channel) error) (*world, chan told) {
	t.Helper()
	w, heard := newWorld(t, 2), make(chan told, 100)
	w.Close()
	w.store.looks = make(chan []task.Notice, 1000)
	w.cfg.Herald = &herald{n, func(ctx context.Context, c task.Channel, id string, body []byte) error {
		if fault != nil {
			if err := fault(c); err != nil {
				return err
			}
		}
		got := told{channel: c, id: id}
		if err := json.Unmarshal(body, &got.body); err != nil {
			return err
		}
		heard <- got
		return ctx.Err()
	}}
	w.open()
	return w, heard
}

func (w *world) hears(heard chan told) told {
	w.Helper()
	select {
	case got := <-heard:
		return got
	case <-w.ctx.Done():
		w.Fatal("nobody was told")
		return told{}
	}
}

// emptied waits until nothing is left to be told.
func (w *world) emptied() {
	w.Helper()
	for {
		list, err := w.store.DB.Outbox()
		w.must(err)
		if len(list) == 0 {
			return
		}
		w.sees()
	}
}

// sees is what the engine sees in the outbox when it looks next.
func (w *world) sees() []task.Notice {
	w.Helper()
	select {
	case list := <-w.store.looks:
		return list
	case <-w.ctx.Done():
		w.Fatalf("%+v", w.Stats())
		return nil
	}
}

// tried waits until the engine has seen that a notice could not be told.
func (w *world) tried() {
	w.Helper()
	for list := w.sees(); len(list) == 0 || list[0].Tries == 0; {
		list = w.sees()
	}
}

func (s *store) Outbox() ([]task.Notice, error) {
	list, err := s.DB.Outbox()
	select {
	case s.looks <- list:
	default:
	}
	return list, err
}

func TestEndsAreTold(t *testing.T) {
	t.Parallel()
	w, heard := telling(t, task.Notify{Command: "x", On: []string{"failed", "cancelled"}}, nil)
	w.end(w.submit("[[text fine]]"), task.Completed) // nobody wants to know
	id := w.submit("[[is-error Not logged in]]")
	w.end(id, task.Failed)
	if got := w.hears(heard); got.channel != task.ChannelCommand || got.id != string(id)+".1" || got.body.Status != task.Failed || got.body.Task.FailureReason != task.ReasonAuth {
		t.Errorf("%+v", got)
	}
	queued := w.submit("[[hang]]")
	_, err := w.Cancel(w.ctx, string(queued))
	w.must(err)
	if got := w.hears(heard); got.body.Status != task.Cancelled || got.body.Task.TaskID != queued {
		t.Errorf("%+v", got)
	}
	w.emptied()
	if len(heard) > 0 {
		t.Errorf("told of more: %+v", <-heard)
	}
}

// Who hangs when told keeps nobody else waiting, and is not told a second time meanwhile.
func TestHangingNoticeDelaysNoOther(t *testing.T) {
	t.Parallel()
	began := make(chan string, 100)
	w, heard := telling(t, task.Notify{Command: "x"}, nil)
	w.Close()
	tells := w.cfg.Herald.(*herald).told
	w.cfg.Herald.(*herald).told = func(ctx context.Context, c task.Channel, id string, body []byte) error {
		if strings.Contains(string(body), "slowly") {
			began <- id
			<-ctx.Done()
			return ctx.Err()
		}
		return tells(ctx, c, id, body)
	}
	w.open()
	w.end(w.submit("[[text slowly]]"), task.Completed)
	<-began
	for range 3 {
		id := w.submit("[[text fine]]")
		w.end(id, task.Completed)
		if got := w.hears(heard); got.body.Task.TaskID != id {
			t.Errorf("%+v", got)
		}
	}
	if len(began) > 0 {
		t.Error("told again while it is told")
	}
}

// An owner that ends while it tells leaves the notice to the next one.
func TestNextOwnerTells(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 1)
	w, heard := telling(t, task.Notify{Webhook: "http://x"}, nil)
	tells := w.cfg.Herald.(*herald).told
	w.Close()
	w.cfg.Herald.(*herald).told = func(ctx context.Context, _ task.Channel, _ string, _ []byte) error {
		began <- struct{}{}
		<-ctx.Done()
		return ctx.Err()
	}
	w.open()
	id := w.submit("[[text fine]]")
	w.end(id, task.Completed)
	<-began
	w.Close()
	list, err := w.store.Outbox()
	if err != nil || len(list) != 1 || list[0].Tries != 0 {
		t.Fatalf("%+v, %v; want one that was never tried", list, err)
	}
	w.cfg.Herald.(*herald).told = tells
	w.open()
	if got := w.hears(heard); got.body.Task.TaskID != id {
		t.Errorf("%+v", got)
	}
	w.emptied()
}

// What one channel refuses the others have all the same, and it alone is asked again.
func TestOneChannelFails(t *testing.T) {
	t.Parallel()
	broken := make(chan bool, 1)
	broken <- true
	w, heard := telling(t, task.Notify{Command: "x", Webhook: "http://x"}, func(c task.Channel) error {
		is := <-broken
		broken <- is
		if c == task.ChannelWebhook && is {
			return errors.New("no way")
		}
		return nil
	})
	id := w.submit("[[text fine]]")
	w.end(id, task.Completed)
	if got := w.hears(heard); got.channel != task.ChannelCommand {
		t.Errorf("%+v", got)
	}
	w.tried()
	w.Close()
	if s := w.Stats(); s.Telling != 1 || len(s.Untold) != 1 || !strings.Contains(s.Untold[0], "webhook; tries: 1): webhook: no way") {
		t.Errorf("%+v", s)
	}
	list, err := w.store.Outbox()
	if err != nil || len(list) != 1 || list[0].Next.Sub(list[0].At) < 9*time.Second {
		t.Fatalf("%+v, %v; want another try after ten seconds", list, err)
	}
	list[0].Next = list[0].At // as if they had passed
	w.must(w.store.Told(list[0]))
	<-broken
	broken <- false
	w.open()
	if got := w.hears(heard); got.channel != task.ChannelWebhook || got.id != string(id)+".1" {
		t.Errorf("%+v", got)
	}
	w.emptied()
	if len(heard) > 0 {
		t.Errorf("told again: %+v", <-heard)
	}
}

// A removed task takes its notices along.
func TestRemovedIsNotTold(t *testing.T) {
	t.Parallel()
	w, _ := telling(t, task.Notify{Desktop: true}, func(task.Channel) error { return errors.New("no screen") })
	id := w.submit("[[text fine]]")
	w.end(id, task.Completed)
	w.tried()
	w.must(w.Remove(w.ctx, string(id), false))
	if list, err := w.store.Outbox(); err != nil || len(list) > 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

// A policy that came while a task waited forbids the command that it brought: the task is
// ended, and its end is told to the others alone.
func TestNotifyThatALaterPolicyForbids(t *testing.T) {
	t.Parallel()
	w, heard := telling(t, task.Notify{Command: "all"}, nil)
	var p atomic.Pointer[task.Policy]
	p.Store(&task.Policy{})
	w.rule(&p, new(atomic.Bool))
	pause := func(paused bool) {
		_, err := w.Groups(w.ctx, &task.GroupChange{Paused: &paused})
		w.must(err)
	}
	pause(true)
	s := task.Spec{WorkingDir: w.home, Claude: w.claude, Notify: "tell"}
	queued, err := w.Submit(w.ctx, engine.Submission{Spec: s, Prompt: "x", Env: w.env()})
	w.must(err)
	p.Store(&task.Policy{MaxPermissionMode: "acceptEdits"})
	pause(false)
	if got := w.end(queued.ID, task.Failed); got.Reason != task.ReasonPolicy {
		t.Errorf("%s: %s", got.Reason, got.Message)
	}
	if got := w.hears(heard); got.channel != task.ChannelCommand {
		t.Errorf("%+v", got)
	}
	w.emptied()
	if len(heard) > 0 {
		t.Errorf("told of more: %+v", <-heard)
	}
}
