package top

import (
	"context"
	"slices"
	"strings"
	"time"

	tea "charm.land/bubbletea/v2"
	"github.com/charmbracelet/x/ansi"

	"cctask/engine"
	"cctask/engine/claude"
	"cctask/engine/task"
	"cctask/internal/show"
)

// model is what was seen last and what the person chose.
type model struct {
	feed   *feed
	again  engine.Again
	colour bool

	width, height int
	method        ansi.Method // as the renderer measures text
	now           time.Time

	tasks   []task.Task // all, in line
	more    map[string]bool
	seen    bool  // there was an answer
	offline error // why there is none now
	rates   map[task.ID]*meter

	group  int    // of groups
	filter string // a text
	typing bool   // the filter is being typed
	shown  []task.Task
	sel    task.ID
	row    int // of sel in shown
	first  int // the row on top of the list

	log    logPane
	full   bool       // the log has the screen to itself
	help   bool       // the keys are explained
	asking *task.Task // to be cancelled?
	note   string     // what came of a key
	wrong  bool       // the note tells of an error
}

// groups are what tab goes through.
var groups = []struct {
	name string
	has  func(task.Status) bool
}{
	{"all", func(task.Status) bool { return true }},
	{"running", task.Status.Live},
	{"queued", func(s task.Status) bool { return s == task.Queued }},
	{"ended", task.Status.Ended},
}

func newModel(ctx context.Context, c Config) *model {
	m := &model{
		feed:  &feed{ctx: ctx, svc: c.Service, watch: c.Service.Watch(engine.Scope{}), stale: true},
		again: c.Again, colour: c.Colour, now: time.Now(), rates: map[task.ID]*meter{},
	}
	m.log.paint = func(l claude.Line, row string) string { return m.sgr(show.LineColour(l), row) }
	return m
}

type tick time.Time

func clock() tea.Cmd { return tea.Every(time.Second, func(t time.Time) tea.Msg { return tick(t) }) }

func (m *model) Init() tea.Cmd { return tea.Batch(guarded(m.feed.follow), clock()) }

func (m *model) Update(msg tea.Msg) (tea.Model, tea.Cmd) {
	switch msg := msg.(type) {
	case tea.WindowSizeMsg:
		m.width, m.height = msg.Width, msg.Height
	case tea.ModeReportMsg:
		// The renderer measures otherwise from now on.
		if msg.Mode == ansi.ModeUnicodeCore && (msg.Value == ansi.ModeReset || msg.Value.IsSet()) {
			m.method = ansi.GraphemeWidth
		}
	case tick:
		m.now = time.Time(msg)
		return m, clock()
	case snapshot:
		m.look(msg)
		return m, tea.Batch(guarded(m.feed.follow), m.fetch())
	case piece:
		m.log.render(msg)
		return m, m.fetch()
	case acted:
		m.tell(msg.text, msg.err)
	case broken:
		panic(msg.text)
	case tea.PasteMsg:
		if m.typing {
			m.filter += show.OneLine(msg.Content)
			m.choose()
		}
		return m, m.fetch()
	case tea.KeyPressMsg:
		return m, m.key(msg)
	}
	return m, nil
}

func (m *model) fetch() tea.Cmd { return m.log.fetch(m.feed, m.selected()) }

func (m *model) look(s snapshot) {
	m.now, m.offline = s.at, s.err
	if s.err != nil {
		return
	}
	m.tasks, m.more, m.seen, m.log.idle = s.tasks, s.more, true, false
	rates := map[task.ID]*meter{}
	for _, t := range m.tasks {
		if t.Status.Live() {
			r := m.rates[t.ID]
			if r == nil || r.attempt != t.Attempt {
				r = &meter{attempt: t.Attempt}
			}
			r.add(s.at, t.StdoutBytes+t.StderrBytes)
			rates[t.ID] = r
		}
	}
	m.rates = rates
	m.choose()
}

// choose makes the list of what fits the filters, and keeps the selected task,
// or the place where it stood.
func (m *model) choose() {
	m.shown = nil
	text := strings.ToLower(m.filter)
	for _, t := range m.tasks {
		if groups[m.group].has(t.Status) && strings.Contains(strings.ToLower(told(t)), text) {
			m.shown = append(m.shown, t)
		}
	}
	if i := slices.IndexFunc(m.shown, func(t task.Task) bool { return t.ID == m.sel }); i >= 0 {
		m.row = i
	}
	m.move(0)
}

// told is the text that the filter is looked for in.
func told(t task.Task) string {
	words := []string{string(t.ID), t.Spec.Name, t.PromptHead, string(t.Status.Public()), t.Message, t.Spec.WorkingDir}
	if t.Progress != nil {
		words = append(words, t.Progress.LastTool)
	}
	return strings.Join(append(words, t.Spec.Labels...), "\n")
}

func (m *model) move(by int) {
	m.row = max(0, min(m.row+by, len(m.shown)-1))
	m.sel = ""
	if t := m.selected(); t != nil {
		m.sel = t.ID
	}
}

func (m *model) selected() *task.Task {
	if m.row >= len(m.shown) {
		return nil
	}
	return &m.shown[m.row]
}

func (m *model) tell(text string, err error) {
	m.note, m.wrong = show.OneLine(text), err != nil
	if err != nil {
		e := task.AsError(err)
		m.note = show.OneLine(e.Message + ". " + e.Hint)
	}
}

// window is the time over which a rate is measured.
const window = 5 * time.Second

// meter measures how fast an attempt prints.
type meter struct {
	attempt int
	marks   []mark // the first one is that of the window's beginning
}

type mark struct {
	at    time.Time
	bytes int64
}

func (r *meter) add(at time.Time, bytes int64) {
	r.marks = append(r.marks, mark{at, bytes})
	for len(r.marks) > 1 && !r.marks[1].at.After(at.Add(-window)) {
		r.marks = r.marks[1:]
	}
}

func (r *meter) rate(now time.Time) int64 {
	base, last := r.marks[0], r.marks[len(r.marks)-1]
	for _, k := range r.marks {
		if !k.at.After(now.Add(-window)) {
			base = k
		}
	}
	// Of a first moment nothing can be said.
	over := min(window, max(time.Second, now.Sub(base.at)))
	return int64(float64(max(0, last.bytes-base.bytes)) / over.Seconds())
}
