package top

import (
	"context"
	"fmt"
	"unicode/utf8"

	tea "charm.land/bubbletea/v2"

	"cctask/engine/claude"
	"cctask/engine/task"
)

// keys are those that the help explains; the ones with a short text stand in the
// last line of the screen too, the first ones longest.
var keys = []struct{ key, short, long string }{
	{"↑ ↓ j k", "", "select a task; in the whole log: scroll"},
	{"g G", "", "the first and the last task; in the whole log: its begin and end"},
	{"PgUp PgDn", "", "scroll the log"},
	{"Enter", "log", "the log over the whole screen, and back"},
	{"c", "cancel", "cancel the task, after a question"},
	{"r", "resume", "go on with an ended task in its session"},
	{"R", "retry", "start an ended task again from its prompt"},
	{"/", "filter", "only tasks with a text; Enter keeps it, Esc clears it"},
	{"Tab", "status", "all, running, queued, ended"},
	{"?", "help", "this page, and back"},
	{"q", "quit", "leave, as Ctrl-C does; all tasks go on"},
}

func (m *model) key(msg tea.KeyPressMsg) tea.Cmd {
	key := msg.String()
	m.note = ""
	switch {
	case key == "ctrl+c":
		return tea.Quit
	case key == "ctrl+z":
		return tea.Suspend
	case m.asking != nil:
		t := *m.asking
		if m.asking = nil; key == "y" || key == "Y" {
			return m.cancel(t)
		}
		m.tell("not cancelled", nil)
		return nil
	case m.typing:
		m.edit(msg)
		return m.fetch()
	case m.help:
		if m.help = false; key == "q" {
			return tea.Quit
		}
		return nil
	}
	switch key {
	case "q":
		return tea.Quit
	case "?":
		m.help = true
	case "/":
		m.typing, m.full = true, false
	case "esc":
		if !m.full {
			m.filter = ""
			m.choose()
		}
		m.full = false
	case "enter":
		m.full = !m.full && m.selected() != nil
	case "tab", "shift+tab":
		step := map[string]int{"tab": 1, "shift+tab": len(groups) - 1}[key]
		m.group, m.full, m.row = (m.group+step)%len(groups), false, 0
		m.choose()
	case "c", "r", "R":
		return m.change(key)
	default:
		m.walk(key)
	}
	return m.fetch()
}

func (m *model) walk(key string) {
	const all = 1 << 30
	lines, page := m.move, m.logHeight()-1
	if m.full {
		lines = func(by int) { m.log.up = max(0, m.log.up-by) }
	}
	switch key {
	case "up", "k":
		lines(-1)
	case "down", "j":
		lines(1)
	case "g", "home":
		lines(-all)
	case "G", "end":
		lines(all)
	case "pgup", "ctrl+b", "ctrl+u":
		m.log.up += page
	case "pgdown", "ctrl+f", "ctrl+d", "space":
		m.log.up = max(0, m.log.up-page)
	}
}

func (m *model) edit(msg tea.KeyPressMsg) {
	switch key := msg.String(); key {
	case "enter":
		m.typing = false
		return
	case "up", "down":
		m.walk(key)
		return
	case "esc":
		m.typing, m.filter = false, ""
	case "backspace":
		_, n := utf8.DecodeLastRuneInString(m.filter)
		m.filter = m.filter[:len(m.filter)-n]
	case "ctrl+u":
		m.filter = ""
	default:
		m.filter += claude.Visible(msg.Text)
	}
	m.row = 0
	m.choose()
}

// change is a key that does something to the selected task.
func (m *model) change(key string) tea.Cmd {
	t := m.selected()
	if t == nil {
		return nil
	}
	if key == "c" {
		if t.Status.Ended() {
			m.tell(fmt.Sprintf("%s has ended", name(*t)), nil)
			return nil
		}
		m.asking = t
		return nil
	}
	call, verb := m.feed.svc.Resume, "resuming"
	if key == "R" {
		call, verb = m.feed.svc.Retry, "retrying"
	}
	again := m.again
	again.Ref = string(t.ID)
	m.tell(fmt.Sprintf("%s %s …", verb, name(*t)), nil)
	return m.feed.act(func(ctx context.Context) (task.Task, error) { return call(ctx, again) }, func(t task.Task) string {
		return fmt.Sprintf("%s is %s as attempt %d", name(t), t.Status.Public(), t.Attempt)
	})
}

func (m *model) cancel(t task.Task) tea.Cmd {
	m.tell(fmt.Sprintf("cancelling %s …", name(t)), nil)
	return m.feed.act(func(ctx context.Context) (task.Task, error) { return m.feed.svc.Cancel(ctx, string(t.ID)) }, func(t task.Task) string {
		return fmt.Sprintf("%s is %s", name(t), t.Status.Public())
	})
}
