package show

import (
	"io"
	"math"
	"os"
	"strings"

	"github.com/charmbracelet/x/ansi"
	"golang.org/x/term"
)

// IsTerminal tells whether a person's terminal is behind a stream.
func IsTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Columns is the width of the terminal behind w; elsewhere there is no limit.
func Columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return math.MaxInt32
}

// Width is the number of columns that s takes on a terminal of which nothing is
// known: where terminals differ it is the larger number.
func Width(s string) int { return ansi.WcWidth.StringWidth(single(s)) }

// Shorten cuts s to at most width columns and shows that it did.
func Shorten(s string, width int) string { return Cut(ansi.WcWidth, s, width) }

// Cut shortens text, which may have looks, to at most width columns as method
// counts them. (The library's own Truncate measures otherwise than its renderer draws.)
func Cut(method ansi.Method, text string, width int) string {
	text = single(text)
	if len(text) <= width || method.StringWidth(text) <= width {
		return text
	}
	var b strings.Builder
	var state byte
	for used := 1; text != ""; {
		seq, w, n, next := method.DecodeSequenceInString(text, state, nil)
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

func Fit(method ansi.Method, text string, width int, right bool) string {
	text = Cut(method, text, width)
	blank := strings.Repeat(" ", max(0, width-method.StringWidth(text)))
	if right {
		return blank + text
	}
	return text + blank
}

// Wrap breaks text, which may have looks, into lines of at most width columns.
func Wrap(method ansi.Method, text string, width int) []string {
	return strings.Split(method.Wrap(single(strings.ReplaceAll(text, "\t", "    ")), width, ""), "\n")
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
