package cli

import (
	"fmt"
	"strconv"
)

// wholeFlag is a flag's number in decimal: pflag's own takes 010 for eight.
type wholeFlag struct {
	to          *int64
	least, most int64
}

func whole(to *int64, def, least, most int64) wholeFlag {
	*to = def
	return wholeFlag{to, least, most}
}

func (f wholeFlag) String() string {
	if f.to == nil || *f.to == 0 || *f.to < f.least {
		return "" // none is said in the help
	}
	return strconv.FormatInt(*f.to, 10)
}

func (wholeFlag) Type() string { return "int" }

func (f wholeFlag) Set(text string) error {
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < f.least || n > f.most {
		return fmt.Errorf("want a whole number from %d to %d", f.least, f.most)
	}
	*f.to = n
	return nil
}
