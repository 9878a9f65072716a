package report

import (
	"fmt"
	"testing"
	"time"

	"cctask/engine/task"
)

// testAfter: a line goes from the end of a task to the beginning of each that waited for it.
func testAfter(t *testing.T, b *tab) {
	ok := func(at, took time.Duration) run { return run{at: at, took: took, status: task.Completed} }
	first := entry(now.Add(-time.Hour), "first", "p", "r", ok(0, 10*time.Minute), ok(20*time.Minute, 10*time.Minute))
	beside := entry(now.Add(-time.Hour), "beside", "p", "r", ok(0, 35*time.Minute))
	then := entry(now.Add(-time.Hour), "then", "p", "r", ok(40*time.Minute, 20*time.Minute))
	waits := entry(now, "waits", "p", "") // has no bar
	then.Task.Spec.After = []string{string(first.Task.ID), string(task.NewID(now)), string(waits.Task.ID)}
	waits.Task.Spec.After = []string{string(first.Task.ID) + ":any"}
	for _, width := range []int{1280, 390} {
		for scheme, ink := range map[string]string{"light": "rgb(22, 25, 29)", "dark": "rgb(230, 233, 238)"} {
			b.look(width, 900, scheme)
			b.open(file(t, render(t, []Entry{waits, then, beside, first})))
			b.fits()
			b.shot(fmt.Sprint(width, "-", scheme))
			b.is(`getComputedStyle(document.querySelector('.links')).stroke`, ink)
			b.is(`document.querySelector('.links').getAttribute('d').split('M').length - 1`, 1)
			b.is(`(() => {
				const line = document.querySelector('.links').getBoundingClientRect(), bar = name => bars.filter(b => title(D.tasks[b.i]) === name).at(-1).el.getBoundingClientRect();
				const from = bar('first'), to = bar('then'), near = (a, b) => Math.abs(a - b) < 4;
				return near(line.left, from.right) && near(line.right, to.left) && near(line.bottom, from.top + from.height / 2) && near(line.top, to.top + to.height / 2);
			})()`, true)
			b.click(".bar[data-n='3']") // the line is in nobody's way
			b.shows("then")
			b.click("#task [title=Close]")
		}
	}
	b.open(file(t, render(t, sample())))
	b.is(`document.querySelectorAll('.links').length`, 0)
	b.quiet()
}
