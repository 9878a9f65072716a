package report

import (
	"fmt"
	"strings"
	"testing"
)

// TestPage looks at the page as people do: wide and narrow, light and dark.
func TestPage(t *testing.T) {
	t.Parallel()
	b := newTab(t)
	path := file(t, render(t, sample()))
	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			name := fmt.Sprintf("%d-%s", width, scheme)
			b.look(width, 844, scheme)
			b.open(path)
			b.shot(name, true)
			if over := b.eval(`document.documentElement.scrollWidth - innerWidth`).(float64); over > 0 {
				t.Errorf("%s: the page is %v pixels wider than the screen", name, over)
			}
			if n := b.eval(`document.querySelectorAll('.bar').length`).(float64); n != 62 {
				t.Errorf("%s: %v bars", name, n)
			}
			b.click(".bar:nth-child(5)")
			b.eval(`new Promise(requestAnimationFrame)`)
			text := b.eval(`document.getElementById('task').innerText`).(string)
			for _, part := range []string{"Read the sources first", "go test -race"} {
				if !strings.Contains(text, part) {
					t.Errorf("%s: the task does not show %q:\n%s", name, part, text)
				}
			}
			b.shot(name+"-task", false)
			b.quiet()
		}
	}
}
