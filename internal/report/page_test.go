package report

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"cctask/engine/task"
)

// TestPage looks at the page as people do.
func TestPage(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	for _, c := range []struct {
		name string
		run  func(*testing.T, *tab)
	}{
		{"looks", testLooks},
		{"keys", testKeys},
		{"finding", testFinding},
		{"hostile", testHostilePage},
		{"none", testNone},
		{"print", testPrint},
		{"numbers", testNumbers},
		{"axis", testAxis},
		{"after", testAfter},
		{"many", testMany},
		{"policy", testPolicy},
	} {
		t.Run(c.name, func(t *testing.T) {
			of := *b
			of.t = t
			c.run(t, &of)
			b.id = of.id
		})
	}
}

// fits wants the page to be no wider than the screen.
func (b *tab) fits() {
	b.t.Helper()
	if over := b.eval(`document.documentElement.scrollWidth - innerWidth`).(float64); over > 0 {
		b.t.Errorf("the page is %v pixels wider than the screen", over)
	}
}

// task is what the page shows of the task that was opened.
func (b *tab) task() string {
	b.t.Helper()
	b.eval(`new Promise(requestAnimationFrame)`)
	return b.eval(`document.getElementById('task').open ? document.getElementById('task').innerText : ''`).(string)
}

// shows wants the opened task to show some words.
func (b *tab) shows(parts ...string) {
	b.t.Helper()
	text := b.task()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			b.t.Errorf("the task does not show %q:\n%.2000s", part, text)
		}
	}
}

// is wants an expression to have a value.
func (b *tab) is(js string, want any) {
	b.t.Helper()
	if got := b.eval(js); fmt.Sprint(got) != fmt.Sprint(want) {
		b.t.Errorf("%s is %v, want %v", js, got, want)
	}
}

// testLooks: wide and narrow, light and dark; a click shows prompt and answer.
func testLooks(t *testing.T, b *tab) {
	path := file(t, render(t, sample()))
	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			t.Run(fmt.Sprintf("%d-%s", width, scheme), func(t *testing.T) {
				b.t = t
				b.look(width, 900, scheme)
				b.open(path)
				b.fits()
				b.shot("top")
				// Six totals fill their rows; each caption says what its number is.
				b.is(`new Set([...document.querySelectorAll('#tiles > div')].map(e => e.offsetTop)).size`, map[int]int{1280: 1, 390: 3}[width])
				b.is(`[...document.querySelectorAll('#tiles dt')].map(e => e.innerText).join()`, "Completed,Cost,Time of claude,Attempts,Turns,Tokens written")
				// Nothing of a bar is outside the frame, and the axis has a label near its end.
				b.is(`[...document.querySelectorAll('.bar')].filter(e => e.getBoundingClientRect().right > document.getElementById('plot').getBoundingClientRect().right + .5).length`, 0)
				b.is(`Math.max(...[...document.querySelectorAll('#ticks span')].map(e => e.getBoundingClientRect().right)) > document.getElementById('plot').getBoundingClientRect().right - 130`, true)
				b.is(`document.getElementById('ticks').getBoundingClientRect().top - document.querySelector('.tools').getBoundingClientRect().bottom < 14`, true)
				// Two lists beside each other end about together, and what opens something looks like it.
				b.is(`innerWidth < 900 || Math.abs(document.getElementById('long').parentNode.offsetHeight - document.getElementById('ends').parentNode.offsetHeight) < 80`, true)
				b.is(`[...document.querySelectorAll('.items button, td button')].filter(e => getComputedStyle(e, '::after').content !== '"›"').length`, 0)
				// The points of the costs stand below each other.
				b.is(`new Set([...document.querySelectorAll('td.c-cost')].map(e => e.innerText.replaceAll('\u2007', '0')).filter(Boolean).map(s => s.length - s.indexOf('.'))).size`, 1)
				b.is(`document.querySelectorAll('.bar').length`, 62)
				b.is(`document.querySelectorAll('tbody tr').length`, 60)
				b.is(`getComputedStyle(document.body).backgroundColor`, map[string]string{"light": "rgb(246, 247, 249)", "dark": "rgb(14, 17, 22)"}[scheme])
				b.is(`[...document.querySelectorAll('h1, h2, dt, dd, td, .bar:not(.slim), button')].filter(e => e.offsetWidth && e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('#scroll')).length`, 0)
				b.eval(`document.getElementById('long').scrollIntoView()`)
				b.shot("lists")
				b.eval(`document.getElementById('all-h').scrollIntoView()`)
				b.shot("table")
				b.click(".bar:nth-child(1)")
				b.shows("Read the sources first", "Prompt", "Answer", "go test -race")
				b.shot("task")
				b.is(`document.activeElement.title`, "Close")
				b.click("#task [title=Close]")
				b.click("tbody tr:has(.c-tries:not(:empty)) button")
				b.shows("2 attempts", "2. resume", "killed by signal 9", "leave the tests alone")
				b.shot("attempts")
				b.fits()
				b.quiet()
			})
		}
	}
}

// testKeys: everything can be reached without a mouse.
func testKeys(t *testing.T, b *tab) {
	b.look(1280, 900, "light")
	b.open(file(t, render(t, sample())))
	b.is(`document.querySelectorAll('.bar[tabindex="0"]').length`, 1)
	b.eval(`document.querySelector('.bar').focus()`)
	for _, key := range []string{"ArrowRight", "ArrowDown", "ArrowUp", "ArrowLeft", "End"} {
		was := b.eval(`document.activeElement.dataset.n`)
		b.key(key)
		if at := b.eval(`document.activeElement.dataset.n`); at == was || at == nil {
			t.Errorf("%s goes from %v to %v", key, was, at)
		}
	}
	b.is(`document.activeElement.dataset.n`, 61)
	if label := b.eval(`document.activeElement.getAttribute('aria-label')`).(string); !strings.Contains(label, "running, ") {
		t.Errorf("a bar is named %q", label)
	}
	b.key("Home")
	b.key("Enter")
	b.shows("Prompt")
	title := b.eval(`document.getElementById('task-h').innerText`)
	b.key("k")
	if now := b.eval(`document.getElementById('task-h').innerText`); now == title {
		t.Errorf("k stays at %v", now)
	}
	b.is(`document.getElementById('task').contains(document.activeElement)`, true)
	b.key("Escape")
	b.is(`document.getElementById('task').open`, false)
	b.is(`document.activeElement.dataset.n`, 0)
	for _, zoom := range []string{"+", "+", "-"} {
		b.key(zoom)
	}
	b.is(`document.getElementById('plot').offsetWidth / document.getElementById('scroll').clientWidth > 1.8`, true)
	b.shot("zoomed")
	// What is in sight has a time.
	b.is(`[...document.querySelectorAll('#ticks span')].length > 4`, true)
	b.quiet()
}

// testFinding: statuses, words, reasons, orders, and a link to a task.
func testFinding(t *testing.T, b *tab) {
	es := sample()
	path := file(t, render(t, es))
	b.look(1280, 900, "light")
	b.open(path)
	rows := func(want int) {
		t.Helper()
		b.is(`document.querySelectorAll('tbody tr').length`, want)
	}
	b.click("#chips .failed")
	rows(4)
	b.click("#chips .timeout")
	rows(6)
	b.click("#clear")
	rows(60)
	b.eval(`const find = document.getElementById('find'); find.value = 'FLAKY'; find.oninput(); new Promise(done => setTimeout(done, 200))`)
	rows(8)
	b.click("#clear")
	b.click("th.c-cost button")
	first := `Number(document.querySelector('tbody .c-cost').innerText.slice(1))`
	if dear := b.eval(first).(float64); dear < 1.4 {
		t.Errorf("the dearest costs %v", dear)
	}
	b.click("th.c-cost button")
	b.is(`document.querySelector('th.c-cost').getAttribute('aria-sort')`, "ascending")
	b.is(`document.querySelector('tbody .c-cost').innerText`, "")

	for _, i := range []int{20, 21} {
		b.eval(fmt.Sprintf("location.hash = %q; new Promise(requestAnimationFrame)", es[i].Task.ID))
		b.shows(string(es[i].Task.ID))
	}
	b.eval(`location.reload()`)
	b.await("Page.loadEventFired")
	b.shows(string(es[21].Task.ID))
	b.quiet()
}

// testHostilePage: whatever tasks say is shown as they said it.
func testHostilePage(t *testing.T, b *tab) {
	b.look(390, 844, "dark")
	b.open(file(t, render(t, hostileEntries())))
	b.fits()
	for i, h := range hostile {
		b.eval(fmt.Sprintf(`show(%d)`, i))
		b.fits()
		want := fmt.Sprintf("%q", strings.ToValidUTF8(h, ""))
		got := fmt.Sprintf("%q", strings.ReplaceAll(b.eval(`[...document.querySelectorAll('#task pre')].pop().textContent`).(string), "\ufffd", ""))
		if got != want {
			t.Errorf("the page shows %s for %s", got, want)
		}
		b.shot(fmt.Sprint(i))
	}
	b.is(`typeof taken`, "undefined")
	b.is(`document.querySelectorAll('#task img, #task svg, main img').length`, 0)
	b.quiet()
}

func testNone(t *testing.T, b *tab) {
	for _, width := range []int{1280, 1000, 390} {
		b.look(width, 900, "light")
		b.open(file(t, render(t, nil)))
		b.fits()
		b.shot(fmt.Sprint("page-", width))
		b.is(`document.querySelectorAll('body > :not([hidden]):not(script):not(noscript):not(dialog)').length`, 3) // header, one sentence, foot
		b.is(`document.getElementById('none').innerText.includes('cctask start PROMPT')`, true)
	}
	b.look(1000, 900, "light")
	b.open(file(t, render(t, sample())))
	b.is(`new Set([...document.querySelectorAll('#tiles > div')].map(e => e.offsetTop)).size`, 2)
	b.shot("1000")
	// One sum is no curve.
	b.open(file(t, render(t, []Entry{entry(now.Add(-time.Hour), "one", "p", "r", run{took: time.Minute, status: task.Completed, usd: 0.5})})))
	b.is(`document.getElementById('cost').hidden && document.getElementById('cost-h').hidden`, true)
	b.shot("one")
	b.open(file(t, render(t, []Entry{entry(now, "waits", "p", "")})))
	b.is(`document.getElementById('time').hidden`, true)
	b.open(file(t, render(t, []Entry{entry(now, "at once", "p", "", run{status: task.Completed})}))) // took no time
	b.is(`document.querySelectorAll('.bar').length`, 1)
	b.is(`document.querySelector('.bar').offsetWidth > 0`, true)
	b.quiet()
}

// testPrint: on paper it is light, without what only a screen is for.
func testPrint(t *testing.T, b *tab) {
	b.look(1280, 900, "dark")
	b.open(file(t, render(t, sample())))
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": "print", "features": []map[string]string{{"name": "prefers-color-scheme", "value": "dark"}}})
	b.is(`getComputedStyle(document.body).backgroundColor`, "rgb(255, 255, 255)")
	b.is(`getComputedStyle(document.body).color`, "rgb(22, 25, 29)")
	b.is(`getComputedStyle(document.getElementById('find')).display`, "none")
	b.look(794, 1123, "dark") // A4
	b.fits()
	b.pdf()
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": ""})
	// All rows, and the texts if they are wanted.
	b.look(1280, 900, "light")
	var es []Entry
	for i := range 260 {
		es = append(es, entry(now.Add(time.Duration(i-300)*time.Minute), fmt.Sprint("task ", i), "a prompt", "an answer", run{took: time.Minute, status: task.Completed}))
	}
	b.open(file(t, render(t, es)))
	b.eval(`var printed = []; addEventListener('beforeprint', () => printed.push(document.querySelectorAll('tbody tr').length, document.querySelectorAll('#paper article').length))`)
	b.is(`getComputedStyle(document.getElementById('paper')).display`, "none")
	b.pdf()
	b.is(`String(printed)`, "260,0")
	b.is(`document.querySelectorAll('tbody tr').length`, 200)
	b.eval(`want.q = 'task 12'; list()`) // 12, 120 to 129
	b.click("#texts")
	b.pdf()
	b.is(`String(printed)`, "260,0,11,11")
	b.is(`document.querySelectorAll('#paper article').length`, 0)
	b.quiet()
	b.open(file(t, render(t, sample())))
	b.click("#texts")
	b.eval(`addEventListener('beforeprint', () => window.text = document.getElementById('paper').textContent)`)
	b.pdf()
	for _, part := range []string{"Read the sources first", "go test -race -count=100", "Prompt of attempt 2", "leave the tests alone"} {
		b.is(fmt.Sprintf(`text.includes(%q)`, part), true)
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"media": ""})
	b.quiet()
}

// testNumbers: what is counted, divided and rounded.
func testNumbers(t *testing.T, b *tab) {
	ok := run{took: 50 * time.Hour, status: task.Completed, usd: 0.9}
	bad := run{took: time.Minute, status: task.Failed, reason: task.ReasonAuth, usd: 0.3}
	b.look(1280, 900, "light")
	b.open(file(t, render(t, []Entry{
		entry(now.Add(-60*time.Hour), "a", "p", "r", ok), entry(now.Add(-60*time.Hour), "b", "p", "r", ok), entry(now.Add(-time.Hour), "c", "p", "", bad),
		entry(now.Add(-time.Hour), "goes on", "p", "", run{status: task.Running}), entry(now, "waits", "p", ""),
	})))
	tile := func(n int) string {
		return fmt.Sprintf(`document.querySelectorAll('#tiles dd')[%d].innerText.replaceAll('\n', ' ')`, n)
	}
	b.is(tile(0), "67 % 2 of 3 ended")
	b.is(tile(1), "$2.10 $0.7000 a task that ended")
	b.is(tile(2), "4d05h in 2d12h of the clock")
	for of, want := range map[[2]int]string{{1, 3}: "33 %", {2, 3}: "67 %", {1, 200}: "1 %", {1, 300}: "< 1 %", {299, 300}: "> 99 %", {0, 3}: "0 %", {3, 3}: "100 %"} {
		b.is(fmt.Sprintf(`share(%d, %d)`, of[0], of[1]), want)
	}
	for d, want := range map[time.Duration]string{
		47*time.Hour + 59*time.Minute: "47h59m", 48 * time.Hour: "2d00h", 75 * time.Hour: "3d03h", 730 * 24 * time.Hour: "730d00h", 2000 * 24 * time.Hour: "2,000d00h", time.Second: "1.0s",
	} {
		b.is(fmt.Sprintf(`dur(%d)`, d.Milliseconds()), want)
	}
	b.open(file(t, render(t, []Entry{entry(now, "waits", "p", "")})))
	b.is(tile(1), "$0 none has ended")
	b.quiet()
}

// testAxis: a label is a moment that no other label is.
func testAxis(t *testing.T, b *tab) {
	b.look(1280, 900, "light")
	labels := func(es ...Entry) []any {
		b.open(file(t, render(t, es)))
		b.eval(`new Promise(requestAnimationFrame)`)
		return b.eval(`[...document.querySelectorAll('#ticks span')].map(e => e.innerText)`).([]any)
	}
	at := func(created time.Time, took time.Duration) Entry {
		return entry(created, "a", "p", "r", run{took: took, status: task.Completed})
	}
	year := 365 * 24 * time.Hour
	two := labels(at(now.Add(-2*year), 20*24*time.Hour), at(now.Add(-year), 20*24*time.Hour), at(now.Add(-20*24*time.Hour), 19*24*time.Hour))
	if len(two) < 3 || two[0] != "Nov 22, 2024" || !strings.HasSuffix(fmt.Sprint(two[len(two)-1]), ", 2026") {
		t.Errorf("over two years: %q", two)
	}
	b.is(`document.getElementById('about').innerText.includes('2024')`, true)
	b.is(`[...document.querySelectorAll('td.c-start')].filter(e => e.scrollWidth > e.clientWidth).length`, 0)
	b.shot("years")
	// Parts of one day among weeks.
	day := now.Add(-30 * 24 * time.Hour).Truncate(24 * time.Hour)
	var es []Entry
	for i := range 4 {
		es = append(es, at(day.Add(time.Duration(4*i+2)*time.Hour), time.Minute))
	}
	repeated := labels(append(es, at(day.Add(2*24*time.Hour), 20*time.Hour))...)
	seen := map[any]bool{}
	for _, l := range repeated {
		if seen[l] {
			t.Errorf("%v stands twice: %q", l, repeated)
		}
		seen[l] = true
	}
	if len(repeated) == 0 || repeated[0] != "Oct 23 02:00" {
		t.Errorf("parts of one day: %q", repeated)
	}
	many := labels(append(es, at(day.Add(2*24*time.Hour), 20*24*time.Hour))...) // a step is days
	if len(many) < 3 || many[0] != "Oct 23" || strings.Contains(fmt.Sprint(many), ":") {
		t.Errorf("weeks: %q", many)
	}
	b.shot("days")
	b.quiet()
}

// testMany: the largest page opens and answers in a moment.
func testMany(t *testing.T, b *tab) {
	b.look(1280, 900, "light")
	path := file(t, many(t).Bytes())
	began := time.Now()
	b.open(path)
	b.is(`document.querySelectorAll('.bar').length`, 12_000)
	b.is(`document.querySelector('.links').getAttribute('d').split('M').length - 1`, maxLinks)
	t.Logf("10,000 tasks are there after %v", time.Since(began))
	b.fits()
	b.shot("page")
	b.is(`document.querySelectorAll('tbody tr').length`, 200)
	b.click("#more")
	b.is(`document.querySelectorAll('tbody tr').length`, 1200)
	began = time.Now()
	b.click("#in")
	b.eval(`new Promise(requestAnimationFrame)`)
	t.Logf("a zoom takes %v", time.Since(began))
	b.eval(`show(9999)`)
	b.shows("The page holds the first 1", "of 1,800 bytes. cctask status ")
	b.shot("task")
	b.quiet()
}

// testPolicy: even a script that got into the page could do nothing.
func testPolicy(t *testing.T, b *tab) {
	b.open(file(t, render(t, sample())))
	b.quiet()
	for _, js := range []string{
		`(() => { const s = document.createElement('script'); s.textContent = 'window.taken = 1'; document.body.append(s); return typeof taken })()`,
		`(() => { const p = document.createElement('p'); p.setAttribute('onclick', 'window.taken = 1'); document.body.append(p); p.click(); return typeof taken })()`,
	} {
		b.is(js, "undefined")
	}
	b.is(`fetch('http://127.0.0.1:9/').then(() => 'went', e => e.message)`, "Failed to fetch")
	var refused []string
	for len(b.events) > 0 {
		if m := <-b.events; m.Method == "Log.entryAdded" && strings.Contains(string(m.Params), "Content Security Policy") {
			refused = append(refused, m.Method)
		} else if m.Method == "Network.requestWillBeSent" {
			t.Errorf("a request went out: %s", m.Params)
		}
	}
	if len(slices.Compact(refused)) == 0 {
		t.Error("the policy refused nothing")
	}
}
