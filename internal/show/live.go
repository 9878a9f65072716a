package show

import (
	"fmt"
	"io"
)

// Live tells how something gets on: on a terminal in one line that is drawn again
// and again, elsewhere in a plain line each time.
type Live struct {
	W     io.Writer
	TTY   bool
	drawn bool
}

func NewLive(w io.Writer) *Live { return &Live{W: w, TTY: IsTerminal(w)} }

func (l *Live) Draw(text string) {
	if !l.TTY {
		fmt.Fprintln(l.W, text)
		return
	}
	// There must be room for the ^C that the terminal shows: a line that wraps
	// cannot be cleared.
	fmt.Fprint(l.W, "\r\x1b[K"+Shorten(text, Columns(l.W)-3))
	l.drawn = true
}

// Clear leaves the terminal's line empty for what comes next.
func (l *Live) Clear() {
	if l.drawn {
		fmt.Fprint(l.W, "\r\x1b[K")
	}
	l.drawn = false
}
