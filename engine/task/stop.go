package task

// StopReason says why we stopped an attempt: whoever decides it tells the runner,
// which writes it down before it signals claude. The names are the format in run
// directories, on disk and on the wire.
type StopReason string

const (
	StopCancel      StopReason = "cancel"       // somebody asked
	StopDeadline    StopReason = "deadline"     // Spec.TimeoutSeconds
	StopOutputLimit StopReason = "output_limit" // Spec.MaxOutput
	StopTerminated  StopReason = "terminated"   // the runner itself was asked to end
	StopStall       StopReason = "stall"        // claude did nothing for Spec.Stall
	StopStartup     StopReason = "startup"      // claude did not come to its first event
	StopAnswered    StopReason = "answered"     // claude had answered and did not end; the answer counts
	StopBudget      StopReason = "budget"       // what it may cost is spent
)

var StopReasons = []StopReason{
	StopCancel, StopDeadline, StopOutputLimit, StopTerminated, StopStall, StopStartup, StopAnswered, StopBudget,
}
