package contracts

import (
	"encoding/json"
	"strings"
)

// Command is an argument vector. A bare JSON string is a vector of one.
type Command []string

// malformedCommand marks JSON that is not a command until Validate, which can
// name the field, is called.
const malformedCommand = "\x00"

// UnmarshalJSON reads a list of strings, or one string.
func (c *Command) UnmarshalJSON(data []byte) error {
	var one string
	if json.Unmarshal(data, &one) == nil {
		*c = Command{one}
		return nil
	}
	var list []string
	if json.Unmarshal(data, &list) != nil {
		list = []string{malformedCommand}
	}
	*c = list
	return nil
}

// Validate refuses NUL bytes, which no argument can hold.
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
