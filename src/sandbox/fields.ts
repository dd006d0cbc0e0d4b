import { z } from 'zod';

// Fields of what the control endpoint takes, each with what to write where it is wrong. Names ending in `_s` are seconds.

/** A number of seconds. */
export const seconds = (least: number, most: number) =>
  z
    .number({ error: `write a number of seconds, ${least} to ${most}` })
    .min(least)
    .max(most);

/** A whole number. */
export const integer = (least: number, most: number) =>
  z
    .int({ error: `write an integer, ${least} to ${most}` })
    .min(least)
    .max(most);

/** An issuer. */
export const issuer = z.enum(['classic', 'stable'], { error: 'write "classic" or "stable"' });

/** One of these literals. */
export const oneOf = <const T extends readonly (string | number)[]>(values: T) =>
  z.literal(values, { error: `write one of ${values.map((value) => JSON.stringify(value)).join(', ')}` });

/** Whether a text is an app id. */
export const isAppId = (text: string) => APP_ID.test(text);
const APP_ID = /^[\w-]{1,64}$/;

/** An app id. */
export const appId = z
  .string({ error: 'write the app id' })
  .regex(APP_ID, { error: 'write 1 to 64 characters of A-Z, a-z, 0-9, "-" and "_"' });

/** A switch. */
export const flag = z.boolean({ error: 'write true or false' });
