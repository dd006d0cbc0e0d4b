FROM node:24-slim AS dependencies
WORKDIR /app
COPY package.json package-lock.json .npmrc ./
# The image has its Node already; the one that the repository brings for older machines is a development dependency.
RUN npm ci --omit=dev --ignore-scripts

FROM node:24-slim
WORKDIR /app
COPY --from=dependencies /app/node_modules node_modules
COPY package.json LICENSE ./
COPY src src
RUN mkdir /data && chown node:node /data
USER node
VOLUME /data
# /data holds lingpai.yaml and, beside it, the store.
ENTRYPOINT ["node", "--disable-warning=ExperimentalWarning", "/app/src/lingpai.js"]
CMD ["serve", "--config", "/data/lingpai.yaml"]
