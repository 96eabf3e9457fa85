import type { Event } from '../../model/event.ts'
import { builder } from '../builder.ts'

export const EventRef = builder.objectRef<Event>('Event').implement({
  description: 'A named occurrence, kept whole for a while (by default 90 days).',
  fields: (t) => ({
    id: t.exposeID('id', { description: 'Made by the gateway, unique. Example: "01HM5V7Z8Q9R0S1T2V3W4X5Y6Z".' }),
    name: t.exposeString('name', { description: 'What happened. Example: "order.placed".' }),
    timestamp: t.field({ type: 'DateTime', description: 'When it happened.', resolve: ({ timeMs }) => timeMs }),
    value: t.float({
      nullable: true,
      description: 'A number that goes with it. Example: 99.99.',
      // In the answer to a repeated key a whole number beyond 2^53 is a bigint.
      resolve: ({ value }) => (value === null ? null : Number(value)),
    }),
    tags: t.field({ type: 'Tags', description: 'As sent; values are text.', resolve: ({ tags }) => tags }),
    properties: t.expose('properties', {
      type: 'Properties',
      nullable: true,
      description: 'As sent. Example: {"items": ["lamp", "desk"]}.',
    }),
    userId: t.exposeString('user_id', { nullable: true, description: 'Who did it. Example: "u-17".' }),
    sessionId: t.exposeString('session_id', { nullable: true, description: 'In which session.' }),
    environment: t.exposeString('environment', { nullable: true, description: 'Example: "production".' }),
    service: t.exposeString('service', { nullable: true, description: 'What sent it. Example: "checkout".' }),
    host: t.exposeString('host', { nullable: true, description: 'Where that ran. Example: "web-3".' }),
    requestId: t.exposeString('request_id', { nullable: true, description: 'In the course of which request.' }),
  }),
})

const MAX = 'At most 256 characters.'

export const EventInputRef = builder.inputType('EventInput', {
  description: 'One event to track: the item that REST takes, 32 KiB at most.',
  fields: (t) => ({
    name: t.string({ required: true, description: 'What happened, at most 255 characters. Example: "order.placed".' }),
    value: t.field({ type: 'MetricValue', description: 'A finite number that goes with it. Example: 99.99.' }),
    timestamp: t.field({
      type: 'DateTime',
      description:
        'When it happened: any time in the past, at most 24 h ahead. Default: now. Example: "2024-01-15T10:30:00Z".',
    }),
    tags: t.field({
      type: 'Tags',
      description: 'At most 32; events can be filtered by them. Example: {region: "eu"}.',
    }),
    properties: t.field({
      type: 'Properties',
      description: 'Whatever else is known. Example: {items: ["lamp", "desk"]}.',
    }),
    user_id: t.id({ description: `Who did it. ${MAX} Example: "u-17".` }),
    session_id: t.id({ description: `In which session. ${MAX}` }),
    environment: t.string({ description: `Where it counts. ${MAX} Example: "production".` }),
    service: t.string({ description: `What sends it. ${MAX} Example: "checkout".` }),
    host: t.string({ description: `Where that runs. ${MAX} Example: "web-3".` }),
    request_id: t.id({ description: `In the course of which request. ${MAX}` }),
  }),
})
