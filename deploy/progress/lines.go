package progress

import (
	"encoding/json"
	"fmt"
	"io"
	"sync"

	"github.com/nationtech/harmony-fleet/deploy"
)

// Lines writes one line per event that says something new, for logs.
func Lines(w io.Writer) deploy.Companion {
	var mu sync.Mutex
	return deploy.Companion{Name: "progress", Observe: func(event deploy.Event) {
		if event.State == deploy.StateLooking || event.State == deploy.StateStarted {
			return
		}
		if event.State == deploy.StateWorking && event.Message == "" {
			return
		}
		mu.Lock()
		defer mu.Unlock()
		fmt.Fprintln(w, line(event))
	}}
}

// JSON writes one JSON document per event and line.
func JSON(w io.Writer) deploy.Companion {
	var mu sync.Mutex
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	return deploy.Companion{Name: "progress", Observe: func(event deploy.Event) {
		mu.Lock()
		defer mu.Unlock()
		_ = encoder.Encode(event) // a failed write has nobody to be told to
	}}
}

func line(event deploy.Event) string {
	text := event.Score
	if event.Target != "" {
		text = event.Target
	}
	if event.Step != "" {
		text += ": " + event.Step
	}
	text += ": " + string(event.State)
	if event.Message != "" {
		text += ": " + event.Message
	}
	return text
}
