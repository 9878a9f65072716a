package task

import (
	"slices"
	"strings"
	"testing"
	"time"
)

func TestChannels(t *testing.T) {
	t.Parallel()
	own := Task{Status: Failed, Spec: Spec{Notify: "x"}}
	all := Notify{Command: "x", Webhook: "http://x", Desktop: true}
	few := all
	few.On = []string{"timeout"}
	for _, c := range []struct {
		n    Notify
		t    Task
		want string
	}{
		{Notify{}, Task{Status: Failed}, ""},
		{Notify{}, own, "notify"},
		{all, Task{Status: Completed}, "command,webhook,desktop"},
		{all, own, "notify,command,webhook,desktop"},
		{few, own, "notify"}, // a task's own is told of each end
		{few, Task{Status: Timeout}, "command,webhook,desktop"},
	} {
		var got []string
		for _, ch := range c.n.Channels(c.t) {
			got = append(got, string(ch))
		}
		if strings.Join(got, ",") != c.want {
			t.Errorf("%+v of %s: %v, want %s", c.n, c.t.Status, got, c.want)
		}
	}
}

// A notice is tried for a day, with pauses that grow, and then kept for people to see.
func TestNoticeIsTriedForADay(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 5, 12, 0, 0, 0, time.UTC)
	n := Notice{Task: NewID(now), Attempt: 1, At: now, Left: []Channel{ChannelWebhook}}
	var pauses []time.Duration
	for at := now; ; at = n.Next {
		if n = n.Tried(at, n.Left, "no"); n.Next.IsZero() {
			break
		}
		pauses = append(pauses, n.Next.Sub(at))
		if n.Next.Sub(now) >= 24*time.Hour {
			t.Fatalf("tried after %s", n.Next.Sub(now))
		}
	}
	first := []time.Duration{10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second}
	if !slices.Equal(pauses[:4], first) || !slices.IsSorted(pauses) || pauses[len(pauses)-1] != 30*time.Minute || len(pauses) < 48 {
		t.Errorf("%d pauses: %v", len(pauses), pauses)
	}
	if !strings.Contains(n.Says(), "webhook") || n.ID() != string(n.Task)+".1" {
		t.Errorf("%s, %s", n.Says(), n.ID())
	}
}

func TestNotifyIsChecked(t *testing.T) {
	t.Parallel()
	for n, good := range map[*Notify]bool{
		{Webhook: "https://example.com/hook"}:        true,
		{Webhook: "http://127.0.0.1:8080"}:           true,
		{Webhook: "example.com"}:                     false,
		{Webhook: "file:///etc/passwd"}:              false,
		{Webhook: "https://"}:                        false,
		{Headers: []string{"Authorization: Bearer"}}: true,
		{Headers: []string{"Authorization"}}:         false,
		{Headers: []string{"A: b\r\nC: d"}}:          false,
	} {
		if err := n.Check(); (err == nil) != good {
			t.Errorf("%+v: %v", *n, err)
		}
	}
}

// A task that is bounded cannot run a command by the back door.
func TestPolicyBoundsNotify(t *testing.T) {
	t.Parallel()
	no := false
	s := Spec{WorkingDir: "/w", Claude: "/c", Notify: "rm -rf /"}
	for p, good := range map[*Policy]bool{
		{}:                             true,
		{MaxPermissionMode: bypass}:    true,
		{MaxPermissionMode: "plan"}:    false,
		{AllowSkipPermissions: &no}:    false,
		{AllowedModels: []string{"x"}}: true,
	} {
		if _, err := p.Apply(s); (err == nil) != good {
			t.Errorf("%+v: %v", *p, err)
		}
	}
}
