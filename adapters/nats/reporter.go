package nats

import (
	"context"

	"github.com/nationtech/harmony-fleet/contracts"
	"github.com/nationtech/harmony-fleet/domain"
)

// ObservedStateReporter is the domain.ObservedStateReporter of one device.
type ObservedStateReporter struct {
	conn   *Conn
	device contracts.DeviceID
}

var _ domain.ObservedStateReporter = (*ObservedStateReporter)(nil)

// NewObservedStateReporter returns the reporter of a device over its connection.
func NewObservedStateReporter(conn *Conn, device contracts.DeviceID) *ObservedStateReporter {
	return &ObservedStateReporter{conn: conn, device: device}
}

// Info implements domain.ObservedStateReporter.
func (r *ObservedStateReporter) Info(_ context.Context, info contracts.DeviceInfo) error {
	return send(r.conn, contracts.ReportSubject(r.device, contracts.ReportInfo), info)
}

// Report implements domain.ObservedStateReporter.
func (r *ObservedStateReporter) Report(_ context.Context, report contracts.DeviceReport) error {
	return send(r.conn, contracts.ReportSubject(r.device, contracts.ReportState), report)
}

// Heartbeat implements domain.ObservedStateReporter.
func (r *ObservedStateReporter) Heartbeat(_ context.Context, heartbeat contracts.Heartbeat) error {
	return send(r.conn, contracts.HeartbeatSubject(r.device), heartbeat)
}

func send[D contracts.Document](conn *Conn, subject string, document D) error {
	data, err := contracts.Encode(document)
	if err != nil {
		return domain.WrapError(domain.ErrInvalid, err, "send to %s", subject)
	}
	if err := conn.requireConnection(); err != nil {
		return err
	}
	return translate(conn.nc.Publish(subject, data), "send to %s", subject)
}
