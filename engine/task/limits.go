package task

// Limits are what claude inherits from whoever submitted its task, beside the
// environment: an owner serves many, and its own come from whichever front
// happened to start it. What is nil or 0 is not known, and stays the owner's.
type Limits struct {
	Umask  *int   `json:"umask,omitempty"`
	NoFile uint64 `json:"nofile,omitempty"` // the soft limit of open files
	Nice   *int   `json:"nice,omitempty"`   // -20 to 19
}
