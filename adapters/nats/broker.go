package nats

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"golang.org/x/sync/errgroup"

	"github.com/nationtech/harmony-fleet/domain"
)

const (
	listSubject = "$SYS.REQ.SERVER.PING.CONNZ"
	// listPage is how many connections one server tells of at once.
	listPage = 2048
	// Nobody knows how many servers there are: the first answers within
	// firstAnswer, and the others within moreAnswers of the one before.
	firstAnswer = 3 * time.Second
	moreAnswers = 300 * time.Millisecond
	kickTimeout = 3 * time.Second
)

func kickSubject(server string) string { return "$SYS.REQ.SERVER." + server + ".KICK" }

// broker is all servers of one broker, seen from its system account.
type broker struct {
	conn    *Conn
	account string
}

// listRequest and listAnswer are the broker's own.
type listRequest struct {
	Users   bool   `json:"auth"`
	User    string `json:"user,omitempty"`
	Account string `json:"acc"`
	Offset  int    `json:"offset"`
	Limit   int    `json:"limit"`
}

type listAnswer struct {
	Server struct {
		ID string `json:"id"`
	} `json:"server"`
	Data struct {
		Connections []struct {
			ID    uint64    `json:"cid"`
			User  string    `json:"authorized_user"`
			Start time.Time `json:"start"`
		} `json:"connections"`
	} `json:"data"`
	Error *struct {
		Description string `json:"description"`
	} `json:"error"`
}

// list implements connectionLister.
func (b *broker) list(ctx context.Context, user string) ([]brokerConnection, error) {
	var found []brokerConnection
	for offset := 0; ; offset += listPage {
		full, err := b.page(ctx, listRequest{Users: true, User: user, Account: b.account, Offset: offset, Limit: listPage}, &found)
		if err != nil || !full {
			return found, err
		}
	}
}

// page adds one page of every server and reports whether one of them has more.
func (b *broker) page(ctx context.Context, request listRequest, found *[]brokerConnection) (full bool, err error) {
	body, err := json.Marshal(request)
	if err != nil {
		return false, err
	}
	inbox := b.conn.nc.NewInbox()
	sub, err := b.conn.nc.SubscribeSync(inbox)
	if err != nil {
		return false, translate(err, "list connections")
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := b.conn.nc.PublishRequest(listSubject, inbox, body); err != nil {
		return false, translate(err, "list connections")
	}
	for wait := firstAnswer; ; wait = moreAnswers {
		msg, err := nextWithin(ctx, sub, wait)
		if wait == moreAnswers && ctx.Err() == nil && errors.Is(err, context.DeadlineExceeded) {
			return full, nil
		}
		if err != nil {
			return false, translate(err, "list connections: no server answers")
		}
		answer, err := decodeList(msg.Data)
		if err != nil {
			return false, err
		}
		for _, c := range answer.Data.Connections {
			*found = append(*found, brokerConnection{server: answer.Server.ID, id: c.ID, user: c.User, since: c.Start})
		}
		full = full || len(answer.Data.Connections) >= request.Limit
	}
}

func decodeList(data []byte) (listAnswer, error) {
	var answer listAnswer
	if err := json.Unmarshal(data, &answer); err != nil {
		return answer, domain.WrapError(domain.ErrUnavailable, err, "list connections: the answer does not decode")
	}
	if answer.Error != nil {
		return answer, domain.Errorf(domain.ErrUnavailable, "list connections: %s", answer.Error.Description)
	}
	return answer, nil
}

func nextWithin(ctx context.Context, sub *nats.Subscription, wait time.Duration) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// end implements connectionLister. A connection that has ended already is none
// to complain of.
func (b *broker) end(ctx context.Context, connection brokerConnection) error {
	ctx, cancel := context.WithTimeout(ctx, kickTimeout)
	defer cancel()
	body := fmt.Appendf(nil, `{"cid":%d}`, connection.id)
	_, err := b.conn.nc.RequestWithContext(ctx, kickSubject(connection.server), body)
	return translate(err, "end connection %d of %s", connection.id, connection.user)
}

// end ends connections, several at a time.
func (c *cutter) end(ctx context.Context, connections []brokerConnection) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(fewKicks)
	for _, connection := range connections {
		group.Go(func() error {
			if err := c.broker.end(ctx, connection); err != nil {
				return err
			}
			c.disconnected.Add(1)
			return nil
		})
	}
	return group.Wait()
}
