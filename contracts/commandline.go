package contracts

import (
	"encoding/json"
	"slices"
	"strings"
)

// Command is an argument vector. A bare JSON string is a vector of one.
type Command []string

// malformedCommand marks JSON that is not a command until Validate, which can
// name the field, is called.
const malformedCommand = "\x00"

// UnmarshalJSON reads a list of strings, or one string. A null changes nothing.
func (c *Command) UnmarshalJSON(data []byte) error {
	if isNull(data) {
		return nil
	}
	var one string
	if json.Unmarshal(data, &one) == nil {
		*c = Command{one}
		return nil
	}
	var list []*string // a null is not an empty argument
	if json.Unmarshal(data, &list) != nil || slices.Contains(list, nil) {
		*c = Command{malformedCommand}
		return nil
	}
	*c = make(Command, len(list))
	for i, argument := range list {
		(*c)[i] = *argument
	}
	return nil
}

// checkProgram is Validate for a command that must name a program.
func (c Command) checkProgram() error {
	if len(c) == 0 || c[0] == "" {
		return invalid("", "must not be empty")
	}
	return c.Validate()
}

// Validate refuses NUL bytes, which no argument can hold. Arguments may be
// secrets and are never quoted.
func (c Command) Validate() error {
	if len(c) == 1 && c[0] == malformedCommand {
		return invalid("", "must be a list of strings, or one string")
	}
	if len(c) > maxStrings {
		return invalid("", "has %d entries, at most %d are allowed", len(c), maxStrings)
	}
	for i, argument := range c {
		if strings.IndexByte(argument, 0) >= 0 {
			return inItem("", i, invalid("", "must not hold a NUL byte"))
		}
	}
	return nil
}
