package task

import (
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// Notify says who is told that a task has ended: [notify] of a settings file. The
// task's own command (Spec.Notify) is told of each end, the others of those in On.
type Notify struct {
	Command string   // for a shell; it gets the notice as JSON on stdin
	Webhook string   // URL to which the same is posted
	Headers []string // of that request, "Name: value"; ${CCTASK_NOTIFY_X} is that variable of the owner
	Desktop bool
	On      []string // statuses; none: all
}

// NotifyRows are the keys of [notify].
var NotifyRows = []Row[Notify]{
	{Name: "command", Chars: mostPath, at: func(n *Notify) any { return &n.Command }},
	{Name: "webhook", Chars: mostPath, at: func(n *Notify) any { return &n.Webhook }},
	{Name: "webhook_headers", Kind: KindList, Items: 32, Chars: mostPath, at: func(n *Notify) any { return &n.Headers }},
	{Name: "desktop", Kind: KindToggle, at: func(n *Notify) any { return &n.Desktop }},
	{Name: "on", Kind: KindList, Items: mostItems, Words: endings(), at: func(n *Notify) any { return &n.On }},
}

// endings are the statuses of which somebody can be told.
func endings() (names []string) {
	for _, s := range Statuses {
		if s.Ended() {
			names = append(names, string(s))
		}
	}
	return names
}

// Check refuses a webhook that nothing can be posted to.
func (n Notify) Check() error {
	for _, h := range n.Headers {
		if name, _, ok := strings.Cut(h, ":"); !ok || strings.TrimSpace(name) == "" || strings.ContainsAny(h, "\r\n") {
			return invalid("webhook_headers", "one is not a header", "Write each as \"Name: value\".")
		}
	}
	if u, err := url.Parse(n.Webhook); n.Webhook != "" && (err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http") {
		return invalid("webhook", fmt.Sprintf("%q is not the URL of a web page", n.Webhook), "Write one that begins with https:// or http://.")
	}
	return nil
}

// Channel is one of those that a notice goes to.
type Channel string

const (
	ChannelTask    Channel = "notify" // the task's own command
	ChannelCommand Channel = "command"
	ChannelWebhook Channel = "webhook"
	ChannelDesktop Channel = "desktop"
)

// Channels are those that are told of the end of t.
func (n Notify) Channels(t Task) (list []Channel) {
	wants := len(n.On) == 0 || slices.Contains(n.On, string(t.Status))
	for _, c := range []struct {
		Channel
		wanted bool
	}{
		{ChannelTask, t.Spec.Notify != ""},
		{ChannelCommand, wants && n.Command != ""},
		{ChannelWebhook, wants && n.Webhook != ""},
		{ChannelDesktop, wants && n.Desktop},
	} {
		if c.wanted {
			list = append(list, c.Channel)
		}
	}
	return list
}

// Notice is the end of an attempt that is to be told: an entry of the outbox. It is
// written in the commit of that end and deleted when every channel has taken it.
type Notice struct {
	Task    ID        `json:"task_id"`
	Attempt int       `json:"attempt"`
	Status  Status    `json:"status"`
	At      time.Time `json:"at"`
	Left    []Channel `json:"left"` // those that have not taken it yet
	Tries   int       `json:"tries,omitempty"`
	Next    time.Time `json:"next,omitzero"` // the next try; zero after the last one
	Error   string    `json:"error,omitempty"`
}

// ID tells a notice from all others, so that who is told twice can know.
func (n Notice) ID() string { return fmt.Sprintf("%s.%d", n.Task, n.Attempt) }

// The pauses between two tries, and how long a notice is tried.
const (
	firstPause   = 10 * time.Second
	longestPause = 30 * time.Minute
	noticeLife   = 24 * time.Hour
)

// Tried is the notice after a try at now, with what is left and why. Without a further
// try it stays for people to see, as long as its task.
func (n Notice) Tried(now time.Time, left []Channel, why string) Notice {
	n.Left, n.Error = left, why
	n.Tries++
	n.Next = time.Time{}
	if pause := min(firstPause<<min(n.Tries-1, 16), longestPause); now.Sub(n.At)+pause < noticeLife {
		n.Next = now.Add(pause)
	}
	return n
}

// Says is the notice in a line for people.
func (n Notice) Says() string {
	names := make([]string, len(n.Left))
	for i, c := range n.Left {
		names[i] = string(c)
	}
	return fmt.Sprintf("the end of task %s could not be told (%s; tries: %d): %s", n.Task, strings.Join(names, ", "), n.Tries, n.Error)
}
