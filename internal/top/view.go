package top

import (
	"fmt"
	"strings"

	tea "charm.land/bubbletea/v2"

	"cctask/engine/task"
	"cctask/internal/human"
)

const (
	sideBySide = 130 // columns from which on the log stands beside the list
	logFrom    = 14  // rows from which on there is a log below the list
	leastWidth = 40
	leastRows  = 6
)

// The looks that need no colour, and the colours of our own.
const (
	bold, faint, reverse = 1, 2, 7
	red, yellow, cyan    = 31, 33, 36
)

// sgr gives text a look. Without colours only those stay that are none.
func (m *model) sgr(code int, text string) string {
	if code == 0 || text == "" || code >= 30 && !m.colour {
		return text
	}
	return fmt.Sprintf("\x1b[%dm%s\x1b[0m", code, text)
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
	case m.width >= sideBySide:
		left, right := m.list(m.listWidth(), body), m.pane(m.width-m.listWidth()-3, body)
		for i := range body {
			lines = append(lines, m.cell(at(left, i), m.listWidth())+m.sgr(faint, " │ ")+at(right, i))
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
		lines[i] = m.cut(line, m.width)
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

func (m *model) listWidth() int { return max(75, min(m.width*52/100, 120)) }

// listHeight is that of the list with its head, the log below it.
func (m *model) listHeight() int {
	body := m.height - 2
	if m.height < logFrom {
		return body
	}
	return min(max(len(m.shown), 1)+1, max(6, body*45/100))
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

// cut shortens text, which may have looks, to at most width columns. (The
// library's own Truncate measures otherwise than the renderer draws.)
func (m *model) cut(text string, width int) string {
	text = single(text)
	if m.method.StringWidth(text) <= width {
		return text
	}
	var b strings.Builder
	var state byte
	for used := 1; text != ""; {
		seq, w, n, next := m.method.DecodeSequenceInString(text, state, nil)
		if used += w; used > width {
			break
		}
		b.WriteString(seq)
		state, text = next, text[n:]
	}
	if width > 0 {
		b.WriteString("…")
	}
	if strings.Contains(b.String(), "\x1b") { // else it would end the look of what it stands in
		b.WriteString("\x1b[0m")
	}
	return b.String()
}

// single takes from emoji what joins and varies them: terminals do not agree on
// how wide that makes them.
func single(text string) string {
	return strings.Map(func(r rune) rune {
		if r == 0x200d || r == 0xfe0e || r == 0xfe0f || r >= 0x1f3fb && r <= 0x1f3ff {
			return -1
		}
		return r
	}, text)
}

// cell is text in exactly so many columns, on the right if width is negative.
func (m *model) cell(text string, width int) string {
	n := max(width, -width)
	text = m.cut(text, n)
	blank := strings.Repeat(" ", max(0, n-m.method.StringWidth(text)))
	if width < 0 {
		return blank + text
	}
	return text + blank
}

// spread puts one text on the left and one on the right of a line.
func (m *model) spread(left, right string, width int) string {
	room := width - m.method.StringWidth(right)
	if room < 20 {
		return m.cell(left, width)
	}
	return m.cell(left, room) + right
}

// header tells how many tasks there are, and what they cost and print.
func (m *model) header() string {
	left := m.sgr(bold, " cctask ")
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
			text = m.sgr(reverse, "["+strings.TrimSpace(text)+"]")
		}
		left += " " + text
	}
	if m.filter != "" && !m.typing {
		left += "  " + m.sgr(yellow, "/"+m.filter)
	}
	if m.offline != nil {
		return m.spread(left, m.sgr(yellow, "reconnecting … "), m.width)
	}
	usd, rate := 0.0, int64(0)
	for _, t := range m.tasks {
		usd += spent(t)
		if r := m.rates[t.ID]; r != nil {
			rate += r.rate(m.now)
		}
	}
	cost, speed := human.Cost(usd), fmt.Sprintf("  %s/s ", human.Bytes(rate))
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
		return m.sgr(reverse, fmt.Sprintf(" Cancel %s, which is %s? y/n ", name(*m.asking), m.asking.Status.Public()))
	case m.typing:
		return " /" + m.filter + m.sgr(reverse, " ")
	case m.note != "" && m.wrong:
		return m.sgr(red, " "+m.note)
	case m.note != "":
		return " " + m.note
	case m.offline != nil && !m.seen:
		return m.sgr(yellow, " "+human.OneLine(m.offline.Error()))
	}
	var hints []string
	for _, k := range keys {
		if short := k.short; short != "" {
			if m.full && k.key == "Enter" {
				short = "back"
			}
			hints = append(hints, m.sgr(bold, k.key)+" "+short)
		}
	}
	return " " + strings.Join(hints, "  ")
}

func (m *model) helpPage(height int) []string {
	lines := []string{"", m.sgr(bold, "  The keys"), ""}
	for _, k := range keys {
		lines = append(lines, "  "+m.sgr(cyan, m.cell(k.key, 12))+k.long)
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
		lines = append(lines, m.cut(f, width))
	}
	log := m.log.rows(width, max(1, height-len(lines)), m.method)
	lines[0] = m.title(*t, width)
	if m.log.id != t.ID || len(log) == 0 {
		log = []string{m.sgr(faint, m.cut(m.log.empty(*t), width))}
	}
	lines = append(lines, log...)
	return lines[:min(len(lines), height)]
}

// title is a rule with the task's name, its id and where the log stands.
func (m *model) title(t task.Task, width int) string {
	right := " " + string(t.ID) + " ─"
	if m.log.up > 0 {
		right = fmt.Sprintf(" %s below ─", human.Plural(m.log.up, "line"))
	}
	left := m.cut(name(t), max(1, width-len(right)-4))
	rule := strings.Repeat("─", max(0, width-m.method.StringWidth(left+right)-4))
	return m.sgr(faint, "── ") + m.sgr(bold, left) + m.sgr(faint, " "+rule+right)
}

// facts describe a task in few lines.
func (m *model) facts(t task.Task) []string {
	status := string(t.Status.Public())
	words := []string{m.sgr(human.StatusColours[t.Status.Public()], status)}
	if t.Status.Ended() {
		words = append(words, task.Ago(t.FinishedAt, m.now))
	}
	if d := m.elapsed(t); d != "" {
		words = append(words, d)
	}
	if t.Attempt > 1 {
		words = append(words, fmt.Sprintf("attempt %d", t.Attempt))
	}
	if usd := spent(t); usd > 0 {
		words = append(words, human.Cost(usd))
	}
	for _, w := range []string{t.Model, strings.Join(t.Spec.Labels, ","), t.Spec.WorkingDir} {
		if w != "" {
			words = append(words, human.OneLine(w))
		}
	}
	lines := []string{strings.Join(words, " · ")}
	if t.Status.Ended() && t.Status != task.Completed {
		lines = append(lines, m.sgr(red, human.OneLine(t.Message)), human.OneLine(t.Reason.Hint()))
	}
	return append(lines, m.sgr(faint, "> "+human.OneLine(t.PromptHead)))
}
