package cli

import (
	"io"
	"math"
	"os"
	"unicode"
	"unicode/utf8"

	"golang.org/x/term"
)

// columns is the width of the terminal behind w; elsewhere there is no limit.
func columns(w io.Writer) int {
	if f, ok := w.(*os.File); ok {
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			return n
		}
	}
	return math.MaxInt32
}

// textWidth is the number of columns that s takes.
func textWidth(s string) (n int) {
	for _, r := range s {
		n += cells(r)
	}
	return n
}

// shorten cuts s to at most width columns and shows that it did.
func shorten(s string, width int) string {
	used, cut := 0, 0
	for i, r := range s {
		used += cells(r)
		if used > width {
			return s[:cut] + "…"
		}
		if used < width {
			cut = i + utf8.RuneLen(r)
		}
	}
	return s
}

// cells is how many columns a character may take: a line that is redrawn must
// not wrap, so where terminals differ it is the larger number.
func cells(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// wide are the scripts of East Asia and what terminals draw as pictures.
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{Lo: 0x1100, Hi: 0x115f, Stride: 1},
		{Lo: 0x231a, Hi: 0x23f3, Stride: 1},
		{Lo: 0x25fd, Hi: 0x27bf, Stride: 1},
		{Lo: 0x2b1b, Hi: 0x2b55, Stride: 1},
		{Lo: 0x2e80, Hi: 0xa4cf, Stride: 1},
		{Lo: 0xa960, Hi: 0xa97c, Stride: 1},
		{Lo: 0xac00, Hi: 0xd7a3, Stride: 1},
		{Lo: 0xf900, Hi: 0xfaff, Stride: 1},
		{Lo: 0xfe10, Hi: 0xfe6f, Stride: 1},
		{Lo: 0xff00, Hi: 0xffe6, Stride: 1},
	},
	R32: []unicode.Range32{
		{Lo: 0x16fe0, Hi: 0x1b2ff, Stride: 1},
		{Lo: 0x1f000, Hi: 0x1faff, Stride: 1},
		{Lo: 0x20000, Hi: 0x3fffd, Stride: 1},
	},
}
