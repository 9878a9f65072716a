package task

// Group is what a person has set of a group of tasks; "" is the whole queue, of
// which only the pause can be set: its number of slots is a setting of the owner.
type Group struct {
	Name   string `json:"name"`
	Jobs   int    `json:"jobs,omitempty"`   // most live tasks; 0: as many as the queue's
	Paused bool   `json:"paused,omitempty"` // nothing of it starts; what is live goes on

	// Not stored; filled by the engine.
	Live   int `json:"live"`
	Queued int `json:"queued"`
}

// GroupChange sets something of a group; nil fields leave it as it is.
type GroupChange struct {
	Name   string `json:"name"`
	Jobs   *int   `json:"jobs,omitempty"`
	Paused *bool  `json:"paused,omitempty"`
}

// MaxJobs bounds the number of slots.
const MaxJobs = 1000

// Of is g as the change leaves it.
func (c GroupChange) Of(g Group) (Group, error) {
	g.Name = c.Name
	switch {
	case c.Name != "" && !isWord(c.Name):
		return g, invalid("group", "is too long, has control characters, or begins or ends with a space", wordHint)
	case c.Jobs != nil && c.Name == "":
		return g, invalid("jobs", "are those of a group", "The whole queue's are the setting jobs of the owner.")
	case c.Jobs != nil && (*c.Jobs < 0 || *c.Jobs > MaxJobs):
		return g, invalid("jobs", "is no number of slots", "Give 1 to 1000, or 0 for as many as the queue has.")
	}
	if c.Jobs != nil {
		g.Jobs = *c.Jobs
	}
	if c.Paused != nil {
		g.Paused = *c.Paused
	}
	return g, nil
}
