import type { Event } from '../../model/event.ts'
import { builder } from '../builder.ts'

export const EventRef = builder.objectRef<Event>('Event').implement({
  description: 'Something that happened at one moment. Events are kept for 90 days by default.',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'Unique; the gateway assigns it. Example: "01HM5V7Z8Q9R0S1T2V3W4X5Y6Z".' }),
    name: t.exposeString('name', { description: 'Name of the event. Example: "order.placed".' }),
    timestamp: t.expose('timeMs', { type: 'DateTime', description: 'When it happened.' }),
    value: t.float({
      nullable: true,
      description: 'Optional number. Example: 99.99.',
      // The stored result of an idempotent request has integers beyond 2^53 as bigints.
      resolve: ({ value }) => (value === null ? null : Number(value)),
    }),
    tags: t.expose('tags', { type: 'Tags', description: 'The tags as sent, without empty ones; values are strings.' }),
    properties: t.expose('properties', {
      type: 'Properties',
      nullable: true,
      description: 'The properties as sent. Example: {"items": ["lamp", "desk"]}.',
    }),
    userId: t.exposeString('user_id', { nullable: true, description: 'Id of the user. Example: "u-17".' }),
    sessionId: t.exposeString('session_id', { nullable: true, description: 'Id of the session.' }),
    environment: t.exposeString('environment', {
      nullable: true,
      description: 'Deployment environment. Example: "production".',
    }),
    service: t.exposeString('service', { nullable: true, description: 'Service that sent it. Example: "checkout".' }),
    host: t.exposeString('host', { nullable: true, description: 'Host of the service. Example: "web-3".' }),
    requestId: t.exposeString('request_id', { nullable: true, description: 'Id of the request it belongs to.' }),
  }),
})

const CHARS_MAX_DESCRIPTION = 'By default at most 256 characters.'

export const EventInputRef = builder.inputType('EventInput', {
  description: 'One event, by default at most 32 KiB. Equal to an item of the REST API.',
  fields: (t) => ({
    name: t.string({
      required: true,
      description: 'Name of the event, by default at most 255 characters. Example: "order.placed".',
    }),
    value: t.field({ type: 'MetricValue', description: 'Optional finite number. Example: 99.99.' }),
    timestamp: t.field({
      type: 'DateTime',
      description:
        'When it happened: in the past, or at most 24 h ahead. Default: now. Example: "2024-01-15T10:30:00Z".',
    }),
    tags: t.field({
      type: 'Tags',
      description: 'By default at most 32; `events` can filter by them. Example: {region: "eu"}.',
    }),
    properties: t.field({
      type: 'Properties',
      description: 'Any further data. Example: {items: ["lamp", "desk"]}.',
    }),
    user_id: t.id({ description: `Id of the user. ${CHARS_MAX_DESCRIPTION} Example: "u-17".` }),
    session_id: t.id({ description: `Id of the session. ${CHARS_MAX_DESCRIPTION}` }),
    environment: t.string({ description: `Deployment environment. ${CHARS_MAX_DESCRIPTION} Example: "production".` }),
    service: t.string({ description: `Service that sends it. ${CHARS_MAX_DESCRIPTION} Example: "checkout".` }),
    host: t.string({ description: `Host of the service. ${CHARS_MAX_DESCRIPTION} Example: "web-3".` }),
    request_id: t.id({ description: `Id of the request it belongs to. ${CHARS_MAX_DESCRIPTION}` }),
  }),
})
