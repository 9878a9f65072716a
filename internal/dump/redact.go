package dump

import (
	"bytes"
	"cmp"
	"regexp"
	"slices"
)

// longest is how far a secret is looked at: more than any key has.
const longest = 16 << 10

// rule is a kind of secret. Its text is looked at where one of the words stands
// in any case: to run all expressions over gigabytes would take hours.
type rule struct {
	words []string // in lower case
	// text is anchored at the word. Group 1 is the secret, or all of it is.
	text *regexp.Regexp
	// mixed: only what has letters and digits, as prose has such words too.
	mixed bool
}

func newRule(text string, mixed bool, words ...string) rule {
	return rule{words, regexp.MustCompile(`^(?:` + text + `)`), mixed}
}

// assigned begins a setting by a telling name. In JSON inside of JSON quotes are
// escaped, several times over.
const assigned = `(?i:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)` +
	`(?i:access)?(?i:key)?(?:[_-][A-Za-z0-9_-]{1,30})?\\*["']?`

var settingWords = []string{
	"password", "passwd", "passphrase", "pwd", "secret", "token", "api_key", "api-key", "apikey",
	"access_key", "access-key", "accesskey", "private_key", "private-key", "privatekey", "credential",
}

// rules are what the vendors' keys look like, by their documentation, and what
// stands where a secret usually does. A value that was cut by a line of JSON
// events, or that looks like any other word, is not found.
var rules = []rule{
	newRule(`sk-ant-[A-Za-z0-9_-]{16,}`, false, "sk-ant-"),                                                                     // Anthropic
	newRule(`sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9]{32,}`, false, "sk-"),                            // OpenAI, OpenRouter
	newRule(`(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}`, false, "sk_live_", "sk_test_", "rk_live_", "rk_test_"),                 // Stripe
	newRule(`(?:AKIA|ASIA)[A-Z0-9]{16}`, false, "akia", "asia"),                                                                // AWS
	newRule(`gh[pousr]_[A-Za-z0-9]{30,}`, false, "ghp_", "gho_", "ghu_", "ghs_", "ghr_"),                                       // GitHub
	newRule(`github_pat_[A-Za-z0-9_]{22,}`, false, "github_pat_"),                                                              // GitHub
	newRule(`glpat-[A-Za-z0-9_-]{20,}`, false, "glpat-"),                                                                       // GitLab
	newRule(`xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}`, false, "xox", "xapp-"),                                    // Slack
	newRule(`AIza[A-Za-z0-9_-]{35}`, false, "aiza"),                                                                            // Google
	newRule(`ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}`, false, "ya29.", "gocspx-"),                                   // Google
	newRule(`npm_[A-Za-z0-9]{36}`, false, "npm_"),                                                                              // npm
	newRule(`pypi-[A-Za-z0-9_-]{50,}`, false, "pypi-"),                                                                         // PyPI
	newRule(`hf_[A-Za-z0-9]{30,}`, false, "hf_"),                                                                               // Hugging Face
	newRule(`SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`, false, "sg."),                                                        // SendGrid
	newRule(`do[oprt]_v1_[a-f0-9]{40,}`, false, "doo_v1_", "dop_v1_", "dor_v1_"),                                               // DigitalOcean
	newRule(`eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}`, false, "eyj"),                                     // JSON Web Tokens
	newRule(`-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----[A-Za-z0-9+/=\s\\:,.()-]*`, false, "-----begin "),            // PEM, to its end or that of the text
	newRule(`(?i:bearer)\s+([A-Za-z0-9._~+/=-]{16,})`, true, "bearer"),                                                         // HTTP
	newRule(`(?i:authorization)\\*["']?\s*[:=]\s*\\*["']?(?i:basic|token)\s+([A-Za-z0-9._~+/=-]{8,})`, false, "authorization"), // HTTP
	newRule(`://[^\s/:@"'\\]{0,100}:([^\s/@"'\\]{3,})@`, false, "://"),                                                         // URLs
	newRule(assigned+`=([^\s"'\\&;,<>(){}\[\]$|]{6,})`, false, settingWords...),                                                // NAME=value
	newRule(assigned+`\s*[:=]\s*\\*"([^",:}\]\s\\\x60][^"\r\n]{3,}?)\\*"`, false, settingWords...),                             // name: "value"
	newRule(assigned+`\s*[:=]\s*'([^'",:}\]\s\\][^'"\r\n\\]{3,})'`, false, settingWords...),                                    // name = 'value'
	newRule(assigned+`\s*:\s*([^\s"'\\&;,<>(){}\[\]$|]{6,})`, true, settingWords...),                                           // name: value
}

type span struct{ from, to int }

// mask writes over the secrets that begin before limit, and counts those that
// end after from. The length stays, and with it every offset and size.
func mask(b []byte, from, limit int) (n int64) {
	var list []span
	low := bytes.Clone(b)
	for i, c := range low {
		if c >= 'A' && c <= 'Z' {
			low[i] = c + 'a' - 'A'
		}
	}
	for _, r := range rules {
		for _, w := range r.words {
			list = r.find(list, b, low, []byte(w), limit)
		}
	}
	slices.SortFunc(list, func(x, y span) int { return cmp.Compare(x.from, y.from) })
	end := 0 // of what is masked
	for _, s := range list {
		if s.to <= end {
			continue
		}
		if s.from >= end && s.to > from {
			n++ // what overlaps is one
		}
		text := b[max(s.from, end):s.to]
		for i := copy(text, maskText[:min(len(maskText), len(text))]); i < len(text); i++ {
			text[i] = '*'
		}
		end = s.to
	}
	return n
}

const maskText = "[redacted]"

func (r rule) find(list []span, b, low, word []byte, limit int) []span {
	for at := 0; at < limit; {
		i := bytes.Index(low[at:], word)
		if i < 0 || at+i >= limit {
			break
		}
		i += at
		at = i + len(word)
		m := r.text.FindSubmatchIndex(b[i:min(len(b), i+longest)])
		if m == nil {
			continue
		}
		s := span{i + m[0], i + m[1]}
		if len(m) > 2 {
			s = span{i + m[2], i + m[3]}
		}
		if !r.mixed || mixed(b[s.from:s.to]) {
			list = append(list, s)
		}
	}
	return list
}

// mixed tells whether b has digits, and letters other than a number's exponent.
func mixed(b []byte) bool {
	return bytes.ContainsAny(b, "0123456789") && bytes.ContainsFunc(b, func(c rune) bool {
		return c != 'e' && c != 'E' && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	})
}

// redactor masks a stream that comes in parts.
type redactor struct {
	count *int64
	from  int64 // what ends before it is not shown, and not counted
	rest  []byte
}

// next takes a part and gives what is ready. Only a secret that begins far
// enough before the end is known to be whole.
func (r *redactor) next(data []byte, last bool) []byte {
	r.rest = append(r.rest, data...)
	cut := len(r.rest) - longest
	if last {
		cut = len(r.rest)
	}
	if cut <= 0 {
		return nil
	}
	*r.count += mask(r.rest, int(max(0, r.from)), cut)
	r.from -= int64(cut)
	out := r.rest[:cut:cut]
	r.rest = r.rest[cut:]
	return out
}
