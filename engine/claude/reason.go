package claude

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// maxMessage is the length of an outcome's message, in characters.
const maxMessage = 400

// bySubtype and byTerminal name ends that claude decided on by itself.
var (
	bySubtype = map[string]string{
		"error_max_turns":                     "max_turns",
		"error_max_budget_usd":                "max_budget",
		"error_max_structured_output_retries": "structured_output",
	}
	byTerminal = map[string]string{
		"max_turns":                         "max_turns",
		"budget_exhausted":                  "max_budget",
		"structured_output_retry_exhausted": "structured_output",
		"prompt_too_long":                   "context_overflow",
		"aborted_tools":                     "interrupted",
		"aborted_streaming":                 "interrupted",
	}
	byAPIError = map[string]string{
		"usage_limit_reached": "usage_limit",
		"connection_failed":   "network",
	}
	// byError is the error of an assistant event where it says more than the
	// HTTP status: low credit comes as a 400.
	byError = map[string]string{
		"authentication_failed": "auth",
		"billing_error":         "billing",
		"model_not_found":       "model_not_found",
	}
	// byLaterError is consulted after the HTTP status.
	byLaterError = map[string]string{
		"rate_limit":      "rate_limited",
		"server_error":    "overloaded",
		"invalid_request": "invalid_request",
	}
	byStatus = map[int]string{
		401: "auth", 402: "billing", 403: "auth", 404: "model_not_found",
		408: "network", 413: "context_overflow", 429: "rate_limited",
	}
	// byText is the last resort, for versions and providers that say it in
	// words only.
	byText = []struct{ has, reason string }{
		{"prompt is too long", "context_overflow"},
		{"not logged in", "auth"},
		{"invalid api key", "auth"},
		{"please run /login", "auth"},
		{"credit balance is too low", "billing"},
		{"usage limit reached", "usage_limit"},
		{"you've hit your", "usage_limit"},
		{"overloaded", "overloaded"},
		{"econnrefused", "network"},
		{"econnreset", "network"},
		{"connection error", "network"},
	}
)

// reason names the cause of an error event: a result, or an assistant event
// after which no result came. text is what it says.
func (p *Parser) reason(ev *event, text string) string {
	said := ""
	if p.apiError != nil {
		said = p.apiError.Error
	}
	status := ev.APIErrorStatus
	if p.limited && status == 429 {
		return "usage_limit"
	}
	for _, r := range []string{
		bySubtype[ev.Subtype], byTerminal[ev.TerminalReason], byAPIError[ev.APIError], byError[said], byStatus[status],
	} {
		if r != "" {
			return r
		}
	}
	if status >= 500 {
		return "overloaded"
	}
	if says([]byte(text), noSpace) {
		return "disk_full"
	}
	text = strings.ToLower(text)
	for _, t := range byText {
		if strings.Contains(text, t.has) {
			return t.reason
		}
	}
	switch {
	case status >= 400:
		return "invalid_request"
	case byLaterError[said] != "":
		return byLaterError[said]
	}
	return "unknown"
}

// errorText is what a failed result says.
func errorText(ev *event) string {
	if ev.Result != nil && *ev.Result != "" {
		return *ev.Result
	}
	if len(ev.Errors) > 0 {
		return strings.Join(ev.Errors, "; ")
	}
	return strings.ReplaceAll(ev.Subtype, "_", " ")
}

// resetPattern is how older versions give the end of a usage limit, in epoch
// seconds: "Claude AI usage limit reached|1795400000".
var resetPattern = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`limit reached\|(\d{9,11})\b`) })

func resetInText(text string) time.Time {
	if m := resetPattern().FindStringSubmatch(text); m != nil {
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil {
			return time.Unix(n, 0).UTC()
		}
	}
	return time.Time{}
}

// signals has the numbers of signals for messages, where they are the same on
// all systems.
var signals = map[string]int{
	"SIGHUP": 1, "SIGINT": 2, "SIGQUIT": 3, "SIGILL": 4, "SIGTRAP": 5, "SIGABRT": 6,
	"SIGFPE": 8, "SIGKILL": 9, "SIGSEGV": 11, "SIGTERM": 15,
}

// crashes are the signals that a process gets for its own faults.
var crashes = map[string]bool{
	"SIGILL": true, "SIGTRAP": true, "SIGABRT": true, "SIGFPE": true, "SIGSEGV": true, "SIGBUS": true, "SIGSYS": true,
}

// signal is the signal that ended claude. It catches some, cleans up, and
// exits with 128+n.
func (e End) signal() string {
	if e.Signal != "" {
		return e.Signal
	}
	switch e.ExitCode {
	case 129:
		return "SIGHUP"
	case 130:
		return "SIGINT"
	case 137:
		return "SIGKILL"
	case 143:
		return "SIGTERM"
	}
	return ""
}
