package engine

import (
	"context"
	"io"
	"net/http"
)

// Exec is a command in a container.
type Exec struct {
	Running  bool
	ExitCode int
	// Pid is its main process on the host, 0 before it began.
	Pid int
}

// CreateExec makes a command in a container that runs, without starting it,
// and returns its ID. ErrNotFound, ErrConflict.
func (c *Client) CreateExec(ctx context.Context, id string, command []string) (string, error) {
	in := struct {
		AttachStdout, AttachStderr bool
		Cmd                        []string
	}{AttachStdout: true, AttachStderr: true, Cmd: command}
	var created struct {
		ID string `json:"Id"`
	}
	err := c.call(ctx, changeTimeout, http.MethodPost, "/containers/"+escape(id)+"/exec", nil, in, &created)
	return created.ID, err
}

// StartExec starts a command and writes its output to w. It blocks until the output ends, until
// ctx ends, which does not end the command, or until w fails.
func (c *Client) StartExec(ctx context.Context, id string, w io.Writer) error {
	info, err := c.Info(ctx)
	if err != nil {
		return err
	}
	in := struct{ Detach, Tty bool }{}
	response, err := c.send(ctx, http.MethodPost, "/v"+info.API+"/exec/"+escape(id)+"/start", nil, in, nil)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	err = demultiplex(w, response.Body, nil)
	if err != nil && ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

// InspectExec returns how a command stands. ErrNotFound when the engine has
// forgotten it, as it does soon after the end.
func (c *Client) InspectExec(ctx context.Context, id string) (Exec, error) {
	var found Exec
	err := c.call(ctx, readTimeout, http.MethodGet, "/exec/"+escape(id)+"/json", nil, nil, &found)
	return found, err
}
