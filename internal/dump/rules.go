package dump

import (
	"bytes"
	"regexp"
	"slices"
	"strings"
	"sync"
)

// rule is a kind of secret. Its texts are looked at where one of the words
// stands in any case: to run all expressions over gigabytes would take hours.
type rule struct {
	words string              // in lower case, with a space between
	after func(b []byte) bool // looks at what ends in the word's first letter; nil: anything
	first *regexp.Regexp      // how all texts begin, where they are many; nil: look at each
	// texts are anchored at the word. Group 1 is the secret, or all of it is; a
	// group with a name only if it is of that kind.
	texts []*regexp.Regexp
}

// before is how much of what a word follows is looked at.
const before = 40

// alone tells whether a word begins at the end of b.
func alone(b []byte) bool {
	n := len(b)
	return n < 2 || !letter(b[n-2]) || n > 2 && b[n-3] == '\\' || upper(b[n-1])
}

// joined tells whether a word begins at the end of b that goes on with a name.
func joined(b []byte) bool { return len(b) > 1 && (b[len(b)-2] == '_' || b[len(b)-2] == '-') }

// optional tells whether the end of b belongs to the name of an option: -x, --a-x.
func optional(b []byte) bool {
	name := b[1+bytes.LastIndexFunc(b, func(c rune) bool { return c != '-' && c != '_' && !letter(byte(c)) && (c < '0' || c > '9') }):]
	return name[0] == '-' || len(name) > 1 && name[1] == '-' && len(name) < len(b) && b[len(b)-len(name)-1] == '\\' // behind \n
}

// inURL tells whether a parameter's name begins at the end of b.
func inURL(b []byte) bool { return len(b) > 1 && bytes.ContainsAny(b[len(b)-2:len(b)-1], "?&6") } // or \u0026

// ofSecrets tells whether the key that begins at the end of b is one to keep.
func ofSecrets(b []byte) bool {
	b = bytes.ToLower(bytes.TrimRight(b[:len(b)-1], "_-"))
	return slices.ContainsFunc(secretKeys, func(name string) bool { return bytes.HasSuffix(b, []byte(name)) })
}

var secretKeys = []string{"account", "signing", "encryption", "master", "shared", "storage", "session", "license", "deploy", "auth"}

func letter(c byte) bool { return upper(c &^ ' ') }
func upper(c byte) bool  { return c >= 'A' && c <= 'Z' }

// kinds are what the values must be where many that are no secrets stand too.
var kinds = map[string]func([]byte) bool{"mixed": mixed, "code": func(b []byte) bool { return !program().Match(b) }}

// mixed tells whether b has digits, and letters other than a number's exponent.
func mixed(b []byte) bool {
	return bytes.ContainsAny(b, "0123456789") && bytes.ContainsFunc(b, func(c rune) bool {
		return c != 'e' && c != 'E' && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z')
	})
}

// program is what is assigned in a program without being a secret: a call, an
// element, a field, a value that all know.
var program = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`^(?:[A-Za-z_]\w*(?:\.\w+)*[(\[{<].*|[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)+[^\w]*|(?i:true|false|null|none|nil|undefined|await|string|number|boolean)[^\w]*)$`)
})

func newRule(words string, texts ...string) rule { return newRuleAfter(nil, words, texts...) }

func newRuleAfter(after func([]byte) bool, words string, texts ...string) rule {
	r := rule{words: words, after: after}
	for _, t := range texts {
		r.texts = append(r.texts, regexp.MustCompile(`^(?:`+t+`)`))
	}
	return r
}

// In JSON quotes and the ends of lines are escaped, in JSON inside of JSON
// several times over: quotes may follow any number of backslashes.
const (
	pemBegin = `-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`
	pemEnd   = `-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----`

	telling = `(?i:password|passwd|passphrase|pwd|secret|token|api[_-]?key|access[_-]?key|private[_-]?key|credential)(?i:access)?(?i:key)?`
	short   = `(?i:pass|psk)`
	option  = `(?i:password|passwd|passphrase|pass|secret|token|api[_-]?key|access[_-]?key)(?i:[_-]?key)?`
	suffix  = `(?:[_-][A-Za-z0-9_-]{1,30})?\\*["']?`
	sign    = suffix + `\s*(?:[:=>]|\\u003e)` // of a value, behind a name
	colon   = `\s*:\s*(?P<mixed>[^\s"'\\&;,<>(){}\[\]$|]{6,})`
	curl    = `(?i:curl)\b` + inLine
	user    = `(?:-[A-Za-z]{0,8}[uU]|--(?:proxy-)?user)[\s=]*`
	jar     = `(?:-[A-Za-z]{0,8}b|--cookie)[\s=]*`
	blank   = `(?:\s|\\+[nrt])+`
	tab     = `(?:\t|\\+t)`
	token   = `[^\s"\\]+`
	inLine  = `(?:[^\n\\]|\\{3,}[nr]|\\[^nr])*?(?:\s|\\+[nr])` // and over the lines that go on in the next one
)

// beginning sets how all texts of a rule begin: most words stand for nothing.
func (r rule) beginning(text string) rule {
	r.first = regexp.MustCompile(`^(?:` + text + `)`)
	return r
}

// assigned is a name with a value, as files and programs write that.
func assigned(name string) []string {
	name += suffix
	const typed = `(?::\s*[A-Za-z]{1,20}\s*)?` // secret: string = "value"
	return []string{
		name + `=([^\s"'\\&;,<>(){}\[\]$|]{6,})`,                                                               // NAME=value
		name + `\s*:?=\s*(?P<code>[^\s"'\\&,;$<({\[/=>][^\s"'\\&,;]{3,}|/[^\s"'\\&,;]{20,})`,                   // name = value, name := value
		name + `\s*` + typed + `(?:=(?:>|\\u003e)|:?=|:)\s*\\*"([^",:}\]\s\\\x60][^"\r\n]{2,}?[^"\\\r\n])\\*"`, // name: "value"
		name + `\s*` + typed + `(?:=(?:>|\\u003e)|:?=|:)\s*'([^'",:}\]\s\\][^'"\r\n\\]{3,})'`,                  // name = 'value'
		name + `(?:>|\\u003e)([^<\s"'\\]{3,})(?:<|\\u003c)`,                                                    // <name>value</name>
	}
}

// given are the ways to write an argument behind prefix. What follows a quote that
// ends a string of JSON begins none.
func given(prefix string) []string {
	return []string{prefix + `([^\s"'\\$<({\[-][^\s"'\\]{2,})`, prefix + `\\*["']([^\s,:}\]"'\\][^"'\\\r\n]{2,})\\*["']`}
}

// rules are what the vendors' keys look like, by their documentation, and what
// stands where a secret usually does: in settings, behind options of commands, in
// the files and headers of well-known programs. A value that is spread over
// several events, or that looks like any other word, is not found. (The libraries
// with such rules know vendors' keys and little else, and would make the program
// larger by a third and each start by milliseconds.)
var rules = sync.OnceValue(func() []rule {
	return []rule{
		newRule("sk-ant-", `sk-ant-[A-Za-z0-9_-]{16,}`),                                                                              // Anthropic
		newRule("sk-", `sk-(?:proj|svcacct|admin|or-v1)-[A-Za-z0-9_-]{16,}|sk-[A-Za-z0-9]{32,}`),                                     // OpenAI, OpenRouter
		newRule("sk_live_ sk_test_ rk_live_ rk_test_", `(?:sk|rk)_(?:live|test)_[A-Za-z0-9]{16,}`),                                   // Stripe
		newRule("akia asia", `(?:AKIA|ASIA)[A-Z0-9]{16}`),                                                                            // AWS
		newRule("ghp_ gho_ ghu_ ghs_ ghr_", `gh[pousr]_[A-Za-z0-9]{30,}`),                                                            // GitHub
		newRule("github_pat_", `github_pat_[A-Za-z0-9_]{22,}`),                                                                       // GitHub
		newRule("glpat-", `glpat-[A-Za-z0-9_-]{20,}`),                                                                                // GitLab
		newRule("xox xapp-", `xox[abeoprs]-[A-Za-z0-9-]{10,}|xapp-[A-Za-z0-9-]{10,}`),                                                // Slack
		newRule("aiza ya29. gocspx-", `AIza[A-Za-z0-9_-]{35}|ya29\.[A-Za-z0-9_-]{20,}|GOCSPX-[A-Za-z0-9_-]{20,}`),                    // Google
		newRule("npm_", `npm_[A-Za-z0-9]{36}`),                                                                                       // npm
		newRule("pypi-", `pypi-[A-Za-z0-9_-]{50,}`),                                                                                  // PyPI
		newRule("hf_", `hf_[A-Za-z0-9]{30,}`),                                                                                        // Hugging Face
		newRule("sg.", `SG\.[A-Za-z0-9_-]{16,}\.[A-Za-z0-9_-]{16,}`),                                                                 // SendGrid
		newRule("doo_v1_ dop_v1_ dor_v1_", `do[opr]_v1_[a-f0-9]{40,}`),                                                               // DigitalOcean
		newRule("age-secret-key- age-plugin-", `(?i:AGE-SECRET-KEY-(?:[A-Z]{1,8}-)?1|AGE-PLUGIN-[A-Z0-9-]{1,40}-1)[A-Za-z0-9]{20,}`), // age
		newRule("eyj", `eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}|eyJhdXRo[A-Za-z0-9+/=_-]{20,}`),                // JSON Web Tokens, Docker's file in base64
		newRule("-----begin", pemBegin+`(?:[^"'-]|-[^"'-])*`+pemEnd, pemBegin+`(?:\\[nr]|\s|[A-Za-z0-9+/=]{20,})*[A-Za-z0-9+/=]*`),   // PEM, whole or cut

		newRule("bearer", `(?i:bearer)\s+(?P<mixed>[A-Za-z0-9._~+/=-]{16,})`),                                               // HTTP
		newRule("authorization", `(?i:authorization)\\*["']?\s*[:=]\s*\\*["']?(?i:basic|token)\s+([A-Za-z0-9._~+/=-]{8,})`), // HTTP
		newRule("cookie", `(?i:cookie)\\*["']?\s*[:=]\s*(?:\\*["'])?([^\s=;:"'\\]+=[^"'\\\r\n]{4,})`),                       // HTTP
		newRule("\ttrue \tfalse \\ttrue \\tfalse", // a browser's or curl's file of cookies
			tab+`(?:TRUE|FALSE)`+tab+`/`+`[^\s"\\]*`+tab+`(?:TRUE|FALSE)`+tab+`\d+`+tab+token+tab+`([^\s"\\]{4,})`),
		newRule("://", `://[^\s/:@"'\\]{0,100}:([^\s/@"'\\]{3,})@`),      // URLs
		newRule("sig=", `(?i:sig)=([A-Za-z0-9%+/_-]{20,}={0,2})`),        // signed URLs
		newRuleAfter(inURL, "key=", `key=(?P<mixed>[A-Za-z0-9_-]{16,})`), // keys in URLs

		newRule("hooks.slack.com/ hooks.zapier.com/", `[a-z.]+/(?:services|workflows|triggers|hooks/catch)/([A-Za-z0-9/_-]{8,})`), // webhooks
		newRule("webhook.office.com/ outlook.office.com/", `[a-z.]+/webhook(?:b2)?/([^\s"'\\]{16,})`),
		newRule("/webhooks/ /hooks/ /hook/", `/webhooks/(?:[0-9]{5,}|incoming)/([A-Za-z0-9_-]{16,})`,
			`/hooks?/(?:[A-Za-z0-9]{8,}/)?(?P<mixed>[A-Za-z0-9-]{20,})(?:["'\\\s?#)]|$)`),
		newRule("bot", `bot[0-9]{6,12}:([A-Za-z0-9_-]{30,})`), // Telegram

		newRule("password passwd passphrase pwd secret token api_key api-key apikey access_key access-key accesskey private_key private-key privatekey credential",
			append(assigned(telling), telling+suffix+colon)...).beginning(telling + sign), // name: value
		newRuleAfter(ofSecrets, "key", append(assigned(`(?i:key)`), `(?i:key)`+suffix+colon)...).beginning(`(?i:key)` + sign),
		newRuleAfter(alone, "pass psk", assigned(short)...).beginning(short + sign),
		newRuleAfter(joined, "pass", `(?i:pass)`+suffix+colon),
		newRule("pass=", `(?i:pass)=(?P<mixed>[^\s"'\\&;,<>(){}\[\]$|]{4,})`, `(?i:pass)=\\*["']([^\s,:}\]"'\\][^"'\\\r\n]{3,})\\*["']`),
		newRuleAfter(alone, "auth", `(?i:auth)\\*["']?\s*[:=]\s*(?:\\*["'])?(?P<mixed>[A-Za-z0-9+/_=-]{12,})`), // Docker, npm

		newRuleAfter(optional, "pass secret token api_key api-key apikey access_key access-key accesskey",
			append(given(option+`\s+`), option+`\\*["']\s*,\s*\\*["']([^"'\\\r\n]{3,})\\*["']\s*[,\]]`)...),
		newRule("curl", append(given(curl+user+`[^\s:"'\\]*:`),
			curl+user+`\\*["'][^\s,:}\]"'\\][^:"'\\]*:([^"'\\\r\n]{3,})`,
			curl+jar+`(?:\\*["'])?([^\s=;"'\\]+=[^"'\\\r\n]{4,})`)...).beginning(curl + `(?:` + user + `|` + jar + `)`),
		newRule("sshpass", given(`sshpass\s+(?:-v\s+)?-p\s*`)...),
		newRule("mysql mariadb", given(`(?:mysql|mariadb)[a-z-]*\b`+inLine+`-p`)...),
		newRule("docker podman helm", given(`[a-z]+\s+(?:registry\s+)?login\b`+inLine+`-p[\s=]*`)...),
		newRule("machine default", // netrc
			`(?:machine`+blank+token+`|default(?:`+blank+`login`+blank+token+`))(?:`+blank+`(?:login|account)`+blank+token+`)*`+blank+`password`+blank+`([^\s"\\]{3,})`),
		newRule("login", `login`+blank+token+blank+`password`+blank+`(?P<mixed>[^\s"\\]{4,})`),
	}
})

// words are where each word is looked for: under its first three letters.
var words = sync.OnceValue(func() *[hashes][]word {
	var table [hashes][]word
	for i, r := range rules() {
		for w := range strings.SplitSeq(r.words, " ") {
			h := hash([]byte(w))
			table[h] = append(table[h], word{w, i})
		}
	}
	return &table
})
