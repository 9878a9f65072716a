package claude

import (
	"cmp"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"cctask/engine/task"
)

// maxMessage is the length of an outcome's message, in characters.
const maxMessage = 400

// bySubtype and byTerminal name ends that claude decided on by itself.
var (
	bySubtype = map[string]task.FailureReason{
		"error_max_turns":                     task.ReasonMaxTurns,
		"error_max_budget_usd":                task.ReasonMaxBudget,
		"error_max_structured_output_retries": task.ReasonStructuredOutput,
	}
	byTerminal = map[string]task.FailureReason{
		"max_turns":                         task.ReasonMaxTurns,
		"budget_exhausted":                  task.ReasonMaxBudget,
		"structured_output_retry_exhausted": task.ReasonStructuredOutput,
		"prompt_too_long":                   task.ReasonContextOverflow,
		"aborted_tools":                     task.ReasonInterrupted,
		"aborted_streaming":                 task.ReasonInterrupted,
	}
	byAPIError = map[string]task.FailureReason{
		"usage_limit_reached": task.ReasonUsageLimit,
		"connection_failed":   task.ReasonNetwork,
	}
	// byError is the error of an assistant event where it says more than the
	// HTTP status: low credit comes as a 400.
	byError = map[string]task.FailureReason{
		"authentication_failed": task.ReasonAuth,
		"billing_error":         task.ReasonBilling,
		"model_not_found":       task.ReasonModelNotFound,
	}
	// byLaterError is consulted after the HTTP status.
	byLaterError = map[string]task.FailureReason{
		"rate_limit":      task.ReasonRateLimited,
		"server_error":    task.ReasonOverloaded,
		"invalid_request": task.ReasonInvalidRequest,
	}
	byStatus = map[int]task.FailureReason{
		401: task.ReasonAuth, 402: task.ReasonBilling, 403: task.ReasonAuth, 404: task.ReasonModelNotFound,
		408: task.ReasonNetwork, 413: task.ReasonContextOverflow, 429: task.ReasonRateLimited,
	}
	// byText is the last resort, for versions and providers that say it in
	// words only.
	byText = []struct {
		has    string
		reason task.FailureReason
	}{
		{"prompt is too long", task.ReasonContextOverflow},
		{"not logged in", task.ReasonAuth},
		{"invalid api key", task.ReasonAuth},
		{"please run /login", task.ReasonAuth},
		{"credit balance is too low", task.ReasonBilling},
		{"usage limit reached", task.ReasonUsageLimit},
		{"you've hit your", task.ReasonUsageLimit},
		{"overloaded", task.ReasonOverloaded},
		{"econnrefused", task.ReasonNetwork},
		{"econnreset", task.ReasonNetwork},
		{"connection error", task.ReasonNetwork},
	}
)

// reason names the cause of an error event: a result, or an assistant event
// after which no result came. text is what it says.
func (p *Parser) reason(ev *event, text string) task.FailureReason {
	said := ""
	if p.apiError != nil {
		said = p.apiError.Error
	}
	status := ev.APIErrorStatus
	if p.limited && status == 429 {
		return task.ReasonUsageLimit
	}
	for _, r := range []task.FailureReason{
		bySubtype[ev.Subtype], byTerminal[ev.TerminalReason], byAPIError[ev.APIError], byError[said], byStatus[status],
	} {
		if r != "" {
			return r
		}
	}
	if status >= 500 {
		return task.ReasonOverloaded
	}
	if says([]byte(text), noSpace) {
		return task.ReasonDiskFull
	}
	text = strings.ToLower(text)
	for _, t := range byText {
		if strings.Contains(text, t.has) {
			return t.reason
		}
	}
	switch {
	case status >= 400:
		return task.ReasonInvalidRequest
	case byLaterError[said] != "":
		return byLaterError[said]
	}
	return task.ReasonUnknown
}

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

// clockPattern is how newer ones do: "resets 5:05pm (UTC)", "resets Nov 30 at 5pm".
var clockPattern = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`resets (?:at )?(?:([A-Z][a-z]{2}) (\d{1,2})(?:,| at)? )?(\d{1,2})(?::(\d{2}))? ?([ap]m)(?: \(([A-Za-z0-9_/+-]+)\))?`)
})

// resetInText is the end of a usage limit as a text of the moment at says it; zero if it does not.
func resetInText(text string, at time.Time) time.Time {
	if m := resetPattern().FindStringSubmatch(text); m != nil {
		if n, err := strconv.ParseInt(m[1], 10, 64); err == nil {
			return time.Unix(n, 0).UTC()
		}
	}
	m := clockPattern().FindStringSubmatch(text)
	if m == nil || at.IsZero() {
		return time.Time{}
	}
	zone := time.Local
	if m[6] != "" {
		var err error
		if zone, err = time.LoadLocation(m[6]); err != nil {
			return time.Time{}
		}
	}
	at = at.In(zone)
	clock, err := time.Parse("3:04pm", m[3]+":"+cmp.Or(m[4], "00")+m[5])
	if err != nil {
		return time.Time{}
	}
	year, month, day := at.Date()
	if m[1] == "" { // the next one
		reset := time.Date(year, month, day, clock.Hour(), clock.Minute(), 0, 0, zone)
		if !reset.After(at) {
			reset = time.Date(year, month, day+1, clock.Hour(), clock.Minute(), 0, 0, zone)
		}
		return reset.UTC()
	}
	date, err := time.Parse("Jan 2", m[1]+" "+m[2])
	if err != nil {
		return time.Time{}
	}
	reset := time.Date(year, date.Month(), date.Day(), clock.Hour(), clock.Minute(), 0, 0, zone)
	if reset.Before(at.AddDate(0, -6, 0)) {
		reset = reset.AddDate(1, 0, 0)
	}
	return reset.UTC()
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
