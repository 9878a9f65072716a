package claude

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Visible makes s safe to show on a terminal: control characters, escapes,
// invisible format characters (text direction, for one) and invalid UTF-8
// appear as \x1b, \u202e, \xff. Newlines and tabs stay, CRLF becomes a newline.
func Visible(s string) string {
	if !strings.ContainsFunc(s, hidden) {
		return s
	}
	var b strings.Builder
	for i := 0; i < len(s); {
		r, n := utf8.DecodeRuneInString(s[i:])
		switch {
		case r == utf8.RuneError && n == 1:
			fmt.Fprintf(&b, `\x%02x`, s[i])
		case !hidden(r) || r == utf8.RuneError:
			b.WriteString(s[i : i+n])
		case r == '\r':
			if !strings.HasPrefix(s[i+1:], "\n") {
				b.WriteString(`\r`)
			}
		case r < 0x80:
			fmt.Fprintf(&b, `\x%02x`, r)
		case r > 0xffff:
			fmt.Fprintf(&b, `\U%08x`, r)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
		i += n
	}
	return b.String()
}

// hidden tells whether a rune may act on a terminal instead of showing. The
// joiners (U+200C, U+200D) are parts of scripts and emoji. U+FFFD is what
// invalid UTF-8 is decoded to; Visible looks at its bytes.
func hidden(r rune) bool {
	if r < 0x7f {
		return r < ' ' && r != '\n' && r != '\t'
	}
	return r == utf8.RuneError || unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp) && r != 0x200c && r != 0x200d
}

// oneLine makes s one visible line of at most limit characters.
func oneLine(s string, limit int) string {
	// No character has more than four bytes; runs of blanks beyond that are cut
	// early, which only shortens the line.
	cut := len(s) > 8*limit
	if cut {
		s = strings.ToValidUTF8(s[:8*limit], "")
	}
	s = Visible(strings.Join(strings.Fields(s), " "))
	if n := utf8.RuneCountInString(s); n > limit || cut && n == limit {
		s = string([]rune(s)[:limit-1]) + "…"
	} else if cut {
		s += "…"
	}
	return s
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
