package task

import (
	"fmt"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
)

// Policy bounds what tasks may ask for. Only the person at the machine sets it;
// the arguments of a task can narrow it and never widen it. Zero fields bound
// nothing.
type Policy struct {
	// AllowedDirs must hold the working directory and every further one.
	AllowedDirs []string `json:"allowed_dirs,omitempty"`
	// MaxPermissionMode is the highest mode, in the order of modeRank.
	MaxPermissionMode    string   `json:"max_permission_mode,omitempty"`
	AllowSkipPermissions *bool    `json:"allow_skip_permissions,omitempty"` // nil: true
	AllowedModels        []string `json:"allowed_models,omitempty"`
	AllowedSites         []string `json:"allowed_sites,omitempty"` // beside this machine
	MaxTimeoutSeconds    float64  `json:"max_timeout,omitempty"`
	MaxBudgetUSD         float64  `json:"max_budget_usd,omitempty"`
	// Bounds of the tasks that are started inside tasks; nil: the default of kin.go.
	MaxDepth           *int `json:"max_depth,omitempty"`
	MaxLiveDescendants *int `json:"max_live_descendants,omitempty"`
	MaxDescendants     *int `json:"max_descendants,omitempty"`
	// ExtraArgs stand behind all other arguments of claude, which takes the
	// last one where an option comes twice.
	ExtraArgs []string `json:"extra_args,omitempty"`
}

// IsZero tells whether it bounds nothing.
func (p Policy) IsZero() bool { return reflect.DeepEqual(p, Policy{}) }

// Rule is a key of [policy], by its name in Policy.
type Rule = Row[Policy]

var Rules = []Rule{
	{Name: "allowed_dirs", Kind: KindPaths, at: func(p *Policy) any { return &p.AllowedDirs }},
	{Name: "max_permission_mode", Words: PermissionModes, at: func(p *Policy) any { return &p.MaxPermissionMode }},
	{Name: "allow_skip_permissions", Kind: KindToggle, at: func(p *Policy) any { return &p.AllowSkipPermissions }},
	{Name: "allowed_models", Kind: KindList, at: func(p *Policy) any { return &p.AllowedModels }},
	{Name: "allowed_sites", Kind: KindList, at: func(p *Policy) any { return &p.AllowedSites }},
	{Name: "max_timeout", Kind: KindSeconds, Most: mostSeconds, at: func(p *Policy) any { return &p.MaxTimeoutSeconds }},
	{Name: "max_budget_usd", Kind: KindNumber, at: func(p *Policy) any { return &p.MaxBudgetUSD }},
	{Name: "max_depth", Kind: KindInteger, Most: mostDescendants, at: func(p *Policy) any { return &p.MaxDepth }},
	{Name: "max_live_descendants", Kind: KindInteger, Most: mostDescendants, at: func(p *Policy) any { return &p.MaxLiveDescendants }},
	{Name: "max_descendants", Kind: KindInteger, Most: mostDescendants, at: func(p *Policy) any { return &p.MaxDescendants }},
	{Name: "extra_args", Kind: KindList, at: func(p *Policy) any { return &p.ExtraArgs }},
}

// And gives what both let pass, the owner's p and a front's q: the lower of each
// bound, and the further arguments of both, p's last. The directories of both
// must have their links resolved. ErrPolicy: nothing could pass.
func (p Policy) And(q Policy) (Policy, error) {
	both, ok := p, true
	both.AllowedDirs, ok = shared(ok, p.AllowedDirs, q.AllowedDirs, func(a, b string) (string, bool) {
		if inside(a, b) {
			return a, true
		}
		return b, inside(b, a)
	})
	both.AllowedModels, ok = shared(ok, p.AllowedModels, q.AllowedModels, func(a, b string) (string, bool) { return a, a == b })
	both.AllowedSites, ok = shared(ok, p.AllowedSites, q.AllowedSites, func(a, b string) (string, bool) { return a, a == b })
	if !ok {
		return p, denied("allowed_dirs or allowed_models", "the policy of the owner and that of this settings file have nothing in common", "Use a settings file that allows some of the same; `cctask doctor` shows both.")
	}
	if q.MaxPermissionMode != "" && (p.MaxPermissionMode == "" || modeRank[q.MaxPermissionMode] < modeRank[p.MaxPermissionMode]) {
		both.MaxPermissionMode = q.MaxPermissionMode
	}
	if q.AllowSkipPermissions != nil && !*q.AllowSkipPermissions {
		both.AllowSkipPermissions = q.AllowSkipPermissions
	}
	both.MaxTimeoutSeconds = lower(p.MaxTimeoutSeconds, q.MaxTimeoutSeconds)
	both.MaxBudgetUSD = lower(p.MaxBudgetUSD, q.MaxBudgetUSD)
	both.MaxDepth = lowerOf(p.MaxDepth, q.MaxDepth)
	both.MaxLiveDescendants = lowerOf(p.MaxLiveDescendants, q.MaxLiveDescendants)
	both.MaxDescendants = lowerOf(p.MaxDescendants, q.MaxDescendants)
	if !slices.Equal(p.ExtraArgs, q.ExtraArgs) {
		both.ExtraArgs = slices.Concat(q.ExtraArgs, p.ExtraArgs)
	}
	return both, nil
}

// shared is what two lists have in common, of which an empty one bounds nothing.
func shared(ok bool, p, q []string, meet func(a, b string) (string, bool)) ([]string, bool) {
	if len(p) == 0 || len(q) == 0 {
		return slices.Concat(p, q), ok
	}
	var both []string
	for _, a := range p {
		for _, b := range q {
			if v, meets := meet(a, b); meets && !slices.Contains(both, v) {
				both = append(both, v)
			}
		}
	}
	return both, ok && len(both) > 0
}

// lower is the lower of two bounds, of which 0 is none.
func lower(a, b float64) float64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

const bypass = "bypassPermissions"

// modeRank orders the permission modes by what claude may do without being
// asked: plan changes nothing; default, manual and dontAsk do what the settings
// allow (nobody is there to be asked, so all three deny the rest); acceptEdits
// changes files too; auto does what its own judgement lets pass; bypass does all.
var modeRank = map[string]int{"plan": 0, "dontAsk": 1, "manual": 1, "default": 1, "acceptEdits": 2, "auto": 3, bypass: 4}

// ours are claude's options by which cctask drives it.
var ours = []string{"-p", "--print", "--output-format", "--input-format", "--session-id", "--resume", "-r", "--continue", "-c", "--fork-session"}

// Check refuses a policy that could not hold.
func (p Policy) Check() error {
	for _, d := range p.AllowedDirs {
		if !filepath.IsAbs(d) {
			return invalid("allowed_dirs", fmt.Sprintf("%q is not an absolute path", d), "Give each directory from the root.")
		}
	}
	if _, known := modeRank[p.MaxPermissionMode]; !known && p.MaxPermissionMode != "" {
		return invalid("max_permission_mode", fmt.Sprintf("%q is unknown", p.MaxPermissionMode), "Use one of "+strings.Join(PermissionModes, ", ")+".")
	}
	for _, m := range p.AllowedModels {
		if !modelPattern().MatchString(m) {
			return invalid("allowed_models", fmt.Sprintf("%q is not a model name", m), "Use sonnet, opus, haiku or a full model name.")
		}
	}
	if !(p.MaxTimeoutSeconds >= 0 && p.MaxTimeoutSeconds <= MaxTimeout.Seconds()) {
		return invalid("max_timeout", fmt.Sprintf("%v is not between 0 and %v seconds", p.MaxTimeoutSeconds, MaxTimeout.Seconds()), "Leave it out for no bound.")
	}
	if !(p.MaxBudgetUSD >= 0) {
		return invalid("max_budget_usd", "is negative", "Leave it out for no bound.")
	}
	for i, arg := range p.ExtraArgs {
		name, _, _ := strings.Cut(arg, "=")
		if i == 0 && !strings.HasPrefix(arg, "-") || strings.ContainsRune(arg, 0) || slices.Contains(ours, name) {
			return invalid("extra_args", fmt.Sprintf("%q cannot be added", arg), "Give options of claude, but not those for output and session, which cctask sets.")
		}
	}
	return nil
}

// Apply gives the specification as the policy lets it run: what was left out
// takes the bound, what was asked for beyond it is refused by the rule's name.
// The directories on both sides must have their links resolved.
func (p Policy) Apply(s Spec) (Spec, error) {
	for _, d := range append([]string{s.WorkingDir}, s.AddDirs...) {
		if !p.allowsDir(d) {
			return s, denied("allowed_dirs", fmt.Sprintf("%s is not inside %s", d, strings.Join(p.AllowedDirs, " or ")), "Choose a directory inside those.")
		}
	}
	if len(p.AllowedSites) > 0 && s.Site != "" && !slices.Contains(p.AllowedSites, s.Site) {
		return s, denied("allowed_sites", fmt.Sprintf("%s is not one of %s", s.Site, strings.Join(p.AllowedSites, ", ")), "Choose one of those, or leave the site out.")
	}
	if len(p.AllowedModels) > 0 {
		if s.Model == "" {
			s.Model = p.AllowedModels[0]
		}
		if !slices.Contains(p.AllowedModels, s.Model) {
			return s, denied("allowed_models", fmt.Sprintf("%s is not one of %s", s.Model, strings.Join(p.AllowedModels, ", ")), "Choose one of those, or leave the model out.")
		}
		for _, m := range s.fallbacks() {
			if !slices.Contains(p.AllowedModels, m) {
				return s, denied("allowed_models", fmt.Sprintf("the fallback_model %s is not one of %s", m, strings.Join(p.AllowedModels, ", ")), "Choose among those, or leave fallback_model out.")
			}
		}
	}
	if most := p.MaxTimeoutSeconds; most > 0 {
		if s.TimeoutSeconds == 0 {
			s.TimeoutSeconds = most
		}
		if s.TimeoutSeconds > most {
			return s, denied("max_timeout", fmt.Sprintf("%s is more than %s", SpanText(s.Timeout()), SpanText(Seconds(most).Duration())), "Ask for less, or leave the timeout out.")
		}
	}
	if most := p.MaxBudgetUSD; most > 0 {
		if s.MaxBudgetUSD == 0 {
			s.MaxBudgetUSD = most
		}
		if s.MaxBudgetUSD > most {
			return s, denied("max_budget_usd", fmt.Sprintf("%v is more than %v", s.MaxBudgetUSD, most), "Ask for less, or leave the budget out.")
		}
	}
	if err := p.MayNotify(s); err != nil {
		return s, err
	}
	return p.applyMode(s)
}

// MayNotify refuses a task's own command where tasks may not do all that their user may.
func (p Policy) MayNotify(s Spec) error {
	if s.Notify == "" || !p.boundsMode() {
		return nil
	}
	return denied("max_permission_mode", "notify runs a command that no permission of claude's bounds", "Leave notify out; [notify] of the settings file can tell of all ends.")
}

// boundsMode tells whether a task may not do all that its user may.
func (p Policy) boundsMode() bool {
	return p.AllowSkipPermissions != nil && !*p.AllowSkipPermissions || p.MaxPermissionMode != "" && p.MaxPermissionMode != bypass
}

// applyMode bounds the permissions. The mode is then always said to claude: one
// that is left to its settings could be a project's own and higher.
func (p Policy) applyMode(s Spec) (Spec, error) {
	noSkip := p.AllowSkipPermissions != nil && !*p.AllowSkipPermissions
	highest := p.MaxPermissionMode
	if highest == "" {
		highest = bypass
	}
	skips := s.SkipsPermissions() || s.PermissionMode == bypass
	explicit := s.SkipPermissions != nil && *s.SkipPermissions || s.PermissionMode == bypass
	switch {
	case explicit && noSkip:
		return s, denied("allow_skip_permissions", "permissions cannot be skipped here", "Leave skip_permissions out, or choose another permission_mode.")
	case explicit && highest != bypass, !skips && s.PermissionMode != "" && modeRank[s.PermissionMode] > modeRank[highest]:
		asked := s.PermissionMode
		if asked == "" {
			asked = "skip_permissions"
		}
		return s, denied("max_permission_mode", fmt.Sprintf("%s is more than %s", asked, highest), "Choose a lower permission_mode, or leave it out.")
	case !noSkip && highest == bypass, s.PermissionMode != "":
		return s, nil
	}
	s.SkipPermissions = new(bool)
	s.PermissionMode = "default"
	// A task that nothing restricts takes the bound itself.
	if skips && highest != bypass || modeRank[highest] < modeRank["default"] {
		s.PermissionMode = highest
	}
	return s, nil
}

func (p Policy) allowsDir(dir string) bool {
	return len(p.AllowedDirs) == 0 || slices.ContainsFunc(p.AllowedDirs, func(allowed string) bool { return inside(dir, allowed) })
}

func inside(dir, outer string) bool {
	rel, err := filepath.Rel(outer, dir)
	return err == nil && filepath.IsLocal(rel)
}

func denied(rule, what, hint string) error {
	return &Error{
		Code: CodePolicy, Message: "policy." + rule + ": " + what,
		Hint: hint + " Only the person at this machine can change the [policy] of cctask's settings file.",
	}
}
