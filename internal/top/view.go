package top

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"cctask/engine/task"
	"cctask/internal/show"
)

const (
	sideBySide = 160 // columns from which on the log stands beside the list
	logFrom    = 14  // rows from which on there is a log below the list
	leastWidth = 40
	leastRows  = 6
)

// sgr gives text a look. Without colours only those stay that are none.
func (m *model) sgr(code int, text string) string {
	if code >= 30 && !m.colour {
		return text
	}
	return show.Paint(code, text)
}

func (m *model) View() tea.View {
	v := tea.NewView("")
	v.AltScreen = true
	if m.width == 0 {
		return v
	}
	lines := []string{m.header()}
	switch body := m.height - 2; {
	case m.width < leastWidth || m.height < leastRows:
		lines = []string{"This terminal is too small."}
	case m.help:
		lines = append(lines, m.helpPage(body)...)
	case m.full && m.selected() != nil:
		lines = append(lines, m.pane(m.width, body)...)
	case m.width >= sideBySide && m.selected() != nil:
		left, right := m.list(m.listWidth(), body), m.pane(m.width-m.listWidth()-3, body)
		for i := range body {
			lines = append(lines, show.Fit(m.method, at(left, i), m.listWidth(), false)+m.sgr(show.Faint, " │ ")+at(right, i))
		}
	default:
		list := m.list(m.width, m.listHeight())
		lines = append(lines, list...)
		if rest := body - len(list); rest >= 4 && m.height >= logFrom {
			lines = append(lines, m.pane(m.width, rest)...)
		}
	}
	for len(lines) < m.height-1 {
		lines = append(lines, "")
	}
	lines = append(lines[:m.height-1], m.footer())
	for i, line := range lines {
		lines[i] = show.Cut(m.method, line, m.width)
	}
	v.Content = strings.Join(lines, "\n")
	return v
}

func at(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return ""
}

// leastLog are the columns that a log beside the list keeps, and the rows that the
// panel below it does, with what stands above the log: the list grows first.
const (
	leastLog  = 60
	leastPane = 9
	leastList = 75
)

// listWidth has room for the longest name, as far as the log leaves it.
func (m *model) listWidth() int {
	const rest = 86 // all but the name
	longest := 0
	for _, t := range m.shown {
		longest = max(longest, m.method.StringWidth(name(t)))
	}
	return max(leastList, min(m.width-3-leastLog, rest+longest))
}

// listHeight is that of the list with its head, the panel below it.
func (m *model) listHeight() int {
	body := m.height - 2
	if m.height < logFrom || len(m.shown) == 0 {
		return body
	}
	return min(len(m.shown)+1, max(6, body-leastPane))
}

// logHeight is the number of the log's lines, without what stands above them.
func (m *model) logHeight() int {
	body := m.height - 2
	if !m.full && m.width < sideBySide {
		body -= m.listHeight()
	}
	if t := m.selected(); t != nil {
		body -= len(m.facts(*t)) + 1 // and the title
	}
	return max(1, body)
}

func (m *model) spread(left, right string, width int) string {
	room := width - m.method.StringWidth(right)
	if room < 20 {
		return show.Fit(m.method, left, width, false)
	}
	return show.Fit(m.method, left, room, false) + right
}

func (m *model) header() string {
	left := m.sgr(show.Bold, " cctask ")
	more := m.more["running"] || m.more["queued"] || m.more["ended"]
	for i, g := range groups {
		n, more := 0, m.more[g.name] || i == 0 && more
		for _, t := range m.tasks {
			if g.has(t.Status) {
				n++
			}
		}
		text := fmt.Sprintf(" %s %d%s ", g.name, n, map[bool]string{true: "+"}[more])
		if i == m.group {
			// The brackets tell it where no look does.
			text = m.sgr(show.Reverse, "["+strings.TrimSpace(text)+"]")
		}
		left += " " + text
	}
	if m.filter != "" && !m.typing {
		left += "  " + m.sgr(show.Yellow, "/"+m.filter)
	}
	if m.offline != nil {
		return m.spread(left, m.sgr(show.Yellow, "reconnecting … "), m.width)
	}
	usd, rate := 0.0, int64(0)
	for _, t := range m.tasks {
		usd += m.at(t).USD()
		if r := m.rates[t.ID]; r != nil {
			rate += r.rate(m.now)
		}
	}
	cost, speed := show.Cost(usd), fmt.Sprintf("  %s/s ", show.Bytes(rate))
	if more {
		wide := fmt.Sprintf("%s in the newest %d", cost, len(m.tasks))
		if cost += "+"; m.method.StringWidth(left+wide+speed) <= m.width {
			cost = wide
		}
	}
	return m.spread(left, cost+speed, m.width)
}

// footer is the last line: a question, what came of a key, or the keys.
func (m *model) footer() string {
	switch {
	case m.asking != nil:
		return m.sgr(show.Reverse, fmt.Sprintf(" Cancel %s, which is %s? y/n ", name(*m.asking), m.asking.Status.Public()))
	case m.typing:
		return " /" + m.filter + m.sgr(show.Reverse, " ")
	case m.note != "" && m.wrong:
		return m.sgr(show.Red, " "+m.note)
	case m.note != "":
		return " " + m.note
	case m.offline != nil && !m.seen:
		return m.sgr(show.Yellow, " "+show.OneLine(m.offline.Error()))
	}
	var hints []string
	for _, k := range keys {
		if short := k.short; short != "" {
			if m.full && k.key == "Enter" {
				short = "back"
			}
			hints = append(hints, m.sgr(show.Bold, k.key)+" "+short)
		}
	}
	return " " + strings.Join(hints, "  ")
}

func (m *model) helpPage(height int) []string {
	lines := []string{"", m.sgr(show.Bold, "  The keys"), ""}
	for _, k := range keys {
		lines = append(lines, "  "+m.sgr(show.Cyan, show.Fit(m.method, k.key, 12, false))+k.long)
	}
	lines = append(lines, "", "  + behind a number: there are more tasks than are looked at here; `cctask list --all` has them.")
	return lines[:min(len(lines), height)]
}

// pane is the selected task: facts, and below them its log.
func (m *model) pane(width, height int) []string {
	t := m.selected()
	if t == nil {
		return nil
	}
	lines := []string{""}
	for _, f := range m.facts(*t) {
		lines = append(lines, show.Cut(m.method, f, width))
	}
	log := m.log.rows(width, max(1, height-len(lines)), m.method)
	lines[0] = m.title(*t, width)
	if m.log.id != t.ID || len(log) == 0 {
		log = []string{m.sgr(show.Faint, show.Cut(m.method, m.log.empty(*t), width))}
	}
	lines = append(lines, log...)
	return lines[:min(len(lines), height)]
}

func (m *model) title(t task.Task, width int) string {
	right := " " + string(t.ID) + " ─"
	if m.log.up > 0 {
		right = fmt.Sprintf(" %s below ─", show.Plural(m.log.up, "line"))
	}
	left := show.Cut(m.method, name(t), max(1, width-len(right)-4))
	rule := strings.Repeat("─", max(0, width-m.method.StringWidth(left+right)-4))
	return m.sgr(show.Faint, "── ") + m.sgr(show.Bold, left) + m.sgr(show.Faint, " "+rule+right)
}

// facts describe a task in few lines.
func (m *model) facts(t task.Task) []string {
	status := string(t.Status.Public())
	words := []string{m.sgr(show.StatusColours[t.Status.Public()], status)}
	if t.Status.Ended() {
		words = append(words, task.Ago(t.FinishedAt, m.now))
	}
	if d := m.at(t).Time(); d != "" {
		words = append(words, d)
	}
	if t.Attempt > 1 {
		words = append(words, fmt.Sprintf("attempt %d", t.Attempt))
	}
	for _, w := range []string{m.at(t).Spent(), t.Model, strings.Join(t.Spec.Labels, ","), t.Spec.WorkingDir} {
		if w != "" {
			words = append(words, show.OneLine(w))
		}
	}
	lines := []string{strings.Join(words, " · ")}
	if t.Status.Ended() && t.Status != task.Completed {
		if show.Says(t) {
			lines = append(lines, m.sgr(show.Red, show.OneLine(t.Message)))
		}
		lines = append(lines, show.OneLine(t.Reason.Hint()))
	}
	return append(lines, m.sgr(show.Faint, "> "+show.OneLine(t.PromptHead)))
}
