package nats

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
)

// Conf returns the whole configuration as the broker reads it from a file:
// ErrInvalid when it cannot work.
func (c ServerConfig) Conf() (string, error) {
	auth, err := c.AuthConf()
	if err != nil {
		return "", err
	}
	w := &confWriter{}
	w.line("# Made by Harmony Fleet. Do not edit: it is written again.")
	if c.Name != "" {
		w.line("server_name: %s", quote(c.Name))
	}
	w.line("listen: %s", quote(c.listen()))
	if c.Monitor != "" {
		w.line("http: %s", quote(c.Monitor))
	}
	w.line("max_connections: %d", cmp.Or(c.MaxConnections, 65536))
	w.line("max_subscriptions: %d", cmp.Or(c.MaxSubscriptions, defaultMaxSubscriptions))
	w.line("max_payload: %d", cmp.Or(c.MaxPayload, defaultMaxPayload))
	w.line("max_pending: %d", defaultMaxPending)
	w.line("max_control_line: %d", maxControlLine)
	w.block("jetstream", func() {
		w.line("store_dir: %s", quote(c.StoreDir))
		if c.SyncAlways {
			w.line("sync_interval: always")
		}
	})
	if c.TLS != nil {
		w.block("tls", func() {
			w.line("cert_file: %s", quote(c.TLS.CertFile))
			w.line("key_file: %s", quote(c.TLS.KeyFile))
			w.line("timeout: %d", int(calloutTimeout.Seconds()))
			if c.TLS.HandshakesPerSecond > 0 {
				w.line("connection_rate_limit: %d", c.TLS.HandshakesPerSecond)
			}
		})
	}
	return w.text.String() + auth, nil
}

// AuthConf returns the part that says who may connect: accounts, users and the
// auth callout, to be included where something else writes the rest.
func (c ServerConfig) AuthConf() (string, error) {
	if err := c.Validate(); err != nil {
		return "", err
	}
	a := c.Accounts.withDefaults()
	w := &confWriter{}
	w.block("accounts", func() {
		w.block(a.Fleet, func() { c.writeFleetAccount(w, a) })
		w.block(a.View, func() { writeViewImports(w, a) })
		w.block(a.Auth, func() { w.list("users", func() { w.user(c.CalloutUser, CalloutPermissions()) }) })
		w.block(a.System, func() { w.list("users", func() { w.user(c.SystemUser, SystemPermissions()) }) })
	})
	w.line("system_account: %s", a.System)
	w.block("authorization", func() {
		w.line("timeout: %d", int(calloutTimeout.Seconds()))
		w.block("auth_callout", func() {
			w.line("issuer: %s", c.Issuer)
			w.line("account: %s", a.Auth)
			w.line("auth_users: [%s]", strings.Join(c.staticUsers(), ", "))
			if c.Exchange != "" {
				w.line("xkey: %s", c.Exchange)
			}
		})
	})
	return w.text.String(), nil
}

func (c ServerConfig) writeFleetAccount(w *confWriter, a Accounts) {
	w.line("jetstream: enabled")
	w.list("users", func() {
		for _, key := range c.Operators {
			w.user(key, OperatorPermissions())
		}
	})
	writeExports(w, a)
}

// writeExports lets the account of viewers see what it imports.
func writeExports(w *confWriter, a Accounts) {
	w.list("exports", func() {
		for _, stream := range viewedStreams() {
			w.line("{service: %s, accounts: [%s]}", quote(messageGet(stream)), a.View)
		}
		for _, subject := range viewedSubjects() {
			w.line("{stream: %s, accounts: [%s]}", quote(subject), a.View)
		}
	})
}

func writeViewImports(w *confWriter, a Accounts) {
	w.list("imports", func() {
		for _, stream := range viewedStreams() {
			w.line("{service: {account: %s, subject: %s}, to: %s}", a.Fleet, quote(messageGet(stream)), quote(viewedGet(stream)))
		}
		for _, subject := range viewedSubjects() {
			w.line("{stream: {account: %s, subject: %s}}", a.Fleet, quote(subject))
		}
	})
}

// confWriter writes the broker's configuration language.
type confWriter struct {
	text  strings.Builder
	depth int
}

func (w *confWriter) line(format string, args ...any) {
	w.text.WriteString(strings.Repeat("  ", w.depth))
	fmt.Fprintf(&w.text, format, args...)
	w.text.WriteByte('\n')
}

func (w *confWriter) block(name string, body func()) { w.nested(name+" {", "}", body) }

func (w *confWriter) list(name string, body func()) { w.nested(name+": [", "]", body) }

func (w *confWriter) nested(begin, end string, body func()) {
	w.line("%s", begin)
	w.depth++
	body()
	w.depth--
	w.line("%s", end)
}

func (w *confWriter) user(nkey string, p Permissions) { w.userAs("nkey: "+nkey, p) }

// userAs writes a user who is known by what the credential says.
func (w *confWriter) userAs(credential string, p Permissions) {
	w.nested("{", "}", func() {
		w.line("%s", credential)
		w.block("permissions", func() {
			w.line("publish: %s", subjectRules(p.PublishAllow, p.PublishDeny))
			w.line("subscribe: %s", subjectRules(p.SubscribeAllow, nil))
			if p.Responses > 0 {
				w.line("allow_responses: {max: %d, expires: %s}", p.Responses, quote(p.ResponseTime.String()))
			}
		})
	})
}

// subjectRules gives a list its form, in which an empty one allows everything.
func subjectRules(allow, deny []string) string {
	if len(allow) == 0 {
		return `{deny: [">"]}`
	}
	return fmt.Sprintf("{allow: [%s], deny: [%s]}", quoteAll(allow), quoteAll(deny))
}

func quoteAll(texts []string) string {
	quoted := make([]string, len(texts))
	for i, text := range texts {
		quoted[i] = quote(text)
	}
	return strings.Join(quoted, ", ")
}

// quote also keeps "$" from being taken for a variable.
func quote(text string) string { return strconv.Quote(text) }
